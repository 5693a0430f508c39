#!/bin/sh
# Runs in the new root: builds what Debian 13 does not ship. Arguments: the version of the kernel.
#
# Debian's kernel leaves out some virtual drivers, though its sources have them: they are built from its own source package. Two of
# them use what the kernel does not export to modules: irq_sim gets by with generic_handle_irq.
set -eu
kernel=$1
work=/tmp/forge
mkdir -p $work/source && cd $work

tar xf /usr/src/linux-source-6.12.tar.xz -C source --strip-components=1 --wildcards \
    '*/kernel/irq/irq_sim.c' '*/drivers/gpio/gpio-sim.c' '*/drivers/media/v4l2-core/v4l2-mem2mem.c' '*/drivers/media/test-drivers/vicodec/*'

module() { # module NAME, from the Makefile on stdin
    cat >"$work/$1/Makefile"
    make -s -C "/lib/modules/$kernel/build" M="$work/$1" KBUILD_EXTRA_SYMBOLS="$(ls $work/*/Module.symvers 2>/dev/null | tr '\n' ' ')" modules
    install -D -m 644 -t "/lib/modules/$kernel/extra" "$work/$1"/*.ko
}

mkdir gpio m2m vicodec
cp source/kernel/irq/irq_sim.c source/drivers/gpio/gpio-sim.c gpio/
sed -i 's/handle_simple_irq(irq_to_desc(\([a-z]*\)))/generic_handle_irq(\1)/' gpio/irq_sim.c
echo 'MODULE_LICENSE("GPL"); MODULE_DESCRIPTION("simulated interrupts");' >>gpio/irq_sim.c
sed -i '1,/#include/s/#include/#include <linux\/module.h>\n#include/' gpio/irq_sim.c
echo 'obj-m := irq_sim.o gpio-sim.o' | module gpio

cp source/drivers/media/v4l2-core/v4l2-mem2mem.c m2m/
echo 'obj-m := v4l2-mem2mem.o' | module m2m

cp source/drivers/media/test-drivers/vicodec/*.[ch] vicodec/
printf 'obj-m := vicodec.o\nvicodec-objs := vicodec-core.o codec-fwht.o codec-v4l2-fwht.o\n' | module vicodec
depmod "$kernel"

# Python packages of the right version, and those that Debian has not. PYPI=1 builds lgpio together with its C library, which its source carries.
pip() { env PYPI=1 pip3 --disable-pip-version-check --no-cache-dir install --root-user-action=ignore --no-deps --target /opt/python "$@"; }
pip --no-build-isolation --no-binary lgpio lgpio==0.2.2.0
pip gpiozero==2.0.1
pip picamera2==0.3.38 PiDNG piexif simplejpeg videodev2 OpenEXR
echo /opt/python >/usr/lib/python3/dist-packages/guest.pth

export DEBIAN_FRONTEND=noninteractive
apt-get -y purge linux-source-6.12 linux-headers-amd64 "linux-headers-$kernel" swig python3-pip >/dev/null
apt-get -y autoremove --purge >/dev/null
rm -rf $work
