#!/bin/sh
# Runs in the new root, last: a machine that boots fast from its one disk, with nothing that works on its own while tests run.
set -eu
echo guest >/etc/hostname
echo '127.0.0.1 localhost guest' >/etc/hosts
echo '/dev/vda / ext4 noatime,discard 0 1' >/etc/fstab
echo guest >/etc/pressbox-guest # what tests/driver looks for

systemd-machine-id-setup >/dev/null

mkdir -p /etc/systemd/journald.conf.d /etc/ssh/sshd_config.d
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >/etc/systemd/journald.conf.d/guest.conf
printf 'UseDNS no\nUsePAM no\nPermitRootLogin prohibit-password\n' >/etc/ssh/sshd_config.d/guest.conf
cat >/etc/systemd/system/network-eth0.service <<'UNIT'
[Unit]
DefaultDependencies=no
After=systemd-udev-trigger.service
[Service]
Type=oneshot
ExecStart=sh -c 'until ip link set eth0 up; do sleep 0.2; done 2>/dev/null; ip address add 10.0.2.15/24 dev eth0'
[Install]
WantedBy=sysinit.target
UNIT
systemctl -q enable network-eth0 ssh
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    logrotate.timer man-db.timer modprobe@drm.service modprobe@efi_pstore.service systemd-logind.service systemd-pcrphase.service \
    systemd-timesyncd.service
printf 'blacklist %s\n' ahci bochs cirrus drm i2c_i801 iTCO_wdt kvm_amd kvm_intel lpc_ich psmouse qxl pcspkr snd_pcsp >/etc/modprobe.d/guest.conf

sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=zstd/' /etc/initramfs-tools/initramfs.conf
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >/etc/initramfs-tools/modules
update-initramfs -u
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man
touch /etc/.updated /var/.updated # else the first boot brings caches up to date, and every boot is a first one
