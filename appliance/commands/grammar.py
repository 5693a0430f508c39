"""How ends are written, as `--help` teaches it."""

from __future__ import annotations

ENDS = """\
ends, as sources (IN) and outputs (OUT); a parameter that is not known is refused with those that are:
  pattern, clip:FILE    a camera: size=1280x720 fps=30 bitrate=4M preset=veryfast gop=1000 audio=128k shape=frames
  srt://HOST:PORT       calls; srt://:PORT listens: latency=120 passphrase=REF pbkeylen=32 streamid=ID
  rist://HOST:PORT      buffer=200 secret=REF aes-type=256 profile=simple second=HOST:PORT second-adapter=ADDRESS
  rtp://HOST:PORT       fec=10x10 adds FEC (fec=5x20,columns without rows; ,staggered not aligned); ttl=16
  srtp://HOST:PORT      RTP encrypted: key=REF, and fec= as above
  udp://HOST:PORT       bare MPEG-TS
  IN of rist, rtp, srtp and udp listens: rtp://@:PORT, rist://@:PORT?second=PORT; fec=on where the sender adds FEC
  every IN that listens: allow=192.0.2.0/24 or allow=any; this machine alone until then
  every OUT that calls or sends: adapter=ADDRESS bindtodevice=INTERFACE, gather=5 (ms, cheaper, in bursts), dscp=34
  rtp and udp to a public address: clear=yes, on purpose
  REF is @file:PATH, @env:VARIABLE or secret:NAME: what stands on a command line can be read by others"""

SHOTS = """\
  pressbox send pattern 'srt://192.0.2.7:5000?latency=120&passphrase=@file:key'
  pressbox recv 'srt://:5000?passphrase=@file:key&allow=192.0.2.0/24' udp://127.0.0.1:5004
  pressbox send pattern 'srtp://192.0.2.7:5004?key=secret:show&fec=10x10&adapter=192.0.2.1'
  pressbox recv 'srtp://@:5004?key=secret:show&fec=on&allow=any' --second 'srtp://@:6004?key=secret:show&fec=on&allow=any' \\
                udp://127.0.0.1:5010
  pressbox send pattern 'rist://192.0.2.7:5000?secret=@file:key&second=198.51.100.7:5002'
  pressbox recv udp://@:5004 --second udp://@:5006 --recover failover --primary first rtp://127.0.0.1:5010"""

SECRETS = """\
  pressbox secret generate path-a
  pressbox secret generate show --srtp
  pressbox secret set path-b < file"""

FLOWS = """\
  pressbox flow show studio --urls
  pressbox flow disable studio wall"""
