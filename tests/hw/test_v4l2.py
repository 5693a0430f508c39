"""Our structs and numbers against the kernel's own header, through a C compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from hw import v4l2

STRUCTS = {
    "v4l2_capability": v4l2.Capability,
    "v4l2_fmtdesc": v4l2.FormatDescription,
    "v4l2_fract": v4l2.Fraction,
    "v4l2_frmsizeenum": v4l2.FrameSize,
    "v4l2_frmivalenum": v4l2.FrameInterval,
    "v4l2_pix_format": v4l2.Pix,
    "v4l2_plane_pix_format": v4l2.PlaneFormat,
    "v4l2_pix_format_mplane": v4l2.PixMplane,
    "v4l2_format": v4l2.Format,
    "v4l2_streamparm": v4l2.StreamParm,
    "v4l2_requestbuffers": v4l2.RequestBuffers,
    "v4l2_plane": v4l2.Plane,
    "v4l2_buffer": v4l2.Buffer,
    "v4l2_exportbuffer": v4l2.ExportBuffer,
    "v4l2_control": v4l2.Control,
    "v4l2_ext_control": v4l2.ExtControl,
    "v4l2_ext_controls": v4l2.ExtControls,
    "v4l2_queryctrl": v4l2.QueryControl,
    "v4l2_event_subscription": v4l2.EventSubscription,
    "v4l2_event": v4l2.Event,
    "v4l2_encoder_cmd": v4l2.EncoderCommand,
    "v4l2_dv_timings": v4l2.DvTimings,
    "v4l2_edid": v4l2.Edid,
    "v4l2_selection": v4l2.Selection,
}
# Where the header has a union or a struct within, and what it calls that which we call so.
PLACES = {
    ("v4l2_frmsizeenum", "stepwise"): "stepwise",
    ("v4l2_streamparm", "capability"): "parm.capture.capability",
    ("v4l2_streamparm", "mode"): "parm.capture.capturemode",
    ("v4l2_streamparm", "timeperframe"): "parm.output.timeperframe",
    ("v4l2_streamparm", "extendedmode"): "parm.capture.extendedmode",
    ("v4l2_streamparm", "buffers"): "parm.output.writebuffers",
    ("v4l2_streamparm", "reserved"): "parm.capture.reserved",
    ("v4l2_ext_control", "u"): "value",
    ("v4l2_selection", "left"): "r.left",
    ("v4l2_selection", "top"): "r.top",
    ("v4l2_selection", "width"): "r.width",
    ("v4l2_selection", "height"): "r.height",
    ("v4l2_encoder_cmd", "data"): "raw.data",
    ("v4l2_dv_timings", "rest"): "bt.standards",
}
IOCTLS = [
    "QUERYCAP",
    "ENUM_FMT",
    "G_FMT",
    "S_FMT",
    "TRY_FMT",
    "G_EDID",
    "G_SELECTION",
    "S_SELECTION",
    "S_EDID",
    "REQBUFS",
    "QUERYBUF",
    "QBUF",
    "DQBUF",
    "EXPBUF",
    "STREAMON",
    "STREAMOFF",
    "G_PARM",
    "S_PARM",
    "G_CTRL",
    "S_CTRL",
    "QUERYCTRL",
    "G_EXT_CTRLS",
    "S_EXT_CTRLS",
    "ENUM_FRAMESIZES",
    "ENUM_FRAMEINTERVALS",
    "ENCODER_CMD",
    "S_DV_TIMINGS",
    "G_DV_TIMINGS",
    "QUERY_DV_TIMINGS",
    "DQEVENT",
    "SUBSCRIBE_EVENT",
]
CONSTANTS = {
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": v4l2.CAPTURE,
    "V4L2_BUF_TYPE_VIDEO_OUTPUT": v4l2.OUTPUT,
    "V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE": v4l2.CAPTURE_MPLANE,
    "V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE": v4l2.OUTPUT_MPLANE,
    "V4L2_MEMORY_MMAP": v4l2.MEMORY_MMAP,
    "V4L2_MEMORY_DMABUF": v4l2.MEMORY_DMABUF,
    "V4L2_FIELD_ANY": v4l2.FIELD_ANY,
    "V4L2_FIELD_NONE": v4l2.FIELD_NONE,
    "VIDEO_MAX_PLANES": v4l2.MAX_PLANES,
    "V4L2_CAP_VIDEO_CAPTURE": v4l2.CAP_VIDEO_CAPTURE,
    "V4L2_CAP_VIDEO_CAPTURE_MPLANE": v4l2.CAP_VIDEO_CAPTURE_MPLANE,
    "V4L2_CAP_VIDEO_M2M": v4l2.CAP_VIDEO_M2M,
    "V4L2_CAP_VIDEO_M2M_MPLANE": v4l2.CAP_VIDEO_M2M_MPLANE,
    "V4L2_CAP_STREAMING": v4l2.CAP_STREAMING,
    "V4L2_CAP_DEVICE_CAPS": v4l2.CAP_DEVICE_CAPS,
    "V4L2_CAP_TIMEPERFRAME": v4l2.CAP_TIMEPERFRAME,
    "V4L2_FMT_FLAG_COMPRESSED": v4l2.FMT_COMPRESSED,
    "V4L2_FMT_FLAG_EMULATED": v4l2.FMT_EMULATED,
    "V4L2_BUF_FLAG_ERROR": v4l2.BUF_ERROR,
    "V4L2_BUF_FLAG_KEYFRAME": v4l2.BUF_KEYFRAME,
    "V4L2_BUF_FLAG_LAST": v4l2.BUF_LAST,
    "V4L2_BUF_FLAG_TIMESTAMP_MASK": v4l2.BUF_TIMESTAMP_MASK,
    "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC": v4l2.BUF_TIMESTAMP_MONOTONIC,
    "V4L2_FRMSIZE_TYPE_DISCRETE": v4l2.SIZE_DISCRETE,
    "V4L2_FRMSIZE_TYPE_CONTINUOUS": v4l2.SIZE_CONTINUOUS,
    "V4L2_FRMSIZE_TYPE_STEPWISE": v4l2.SIZE_STEPWISE,
    "V4L2_FRMIVAL_TYPE_DISCRETE": v4l2.SIZE_DISCRETE,
    "V4L2_FRMIVAL_TYPE_CONTINUOUS": v4l2.SIZE_CONTINUOUS,
    "V4L2_FRMIVAL_TYPE_STEPWISE": v4l2.SIZE_STEPWISE,
    "V4L2_EVENT_EOS": v4l2.EVENT_EOS,
    "V4L2_EVENT_SOURCE_CHANGE": v4l2.EVENT_SOURCE_CHANGE,
    "V4L2_ENC_CMD_START": v4l2.ENC_CMD_START,
    "V4L2_ENC_CMD_STOP": v4l2.ENC_CMD_STOP,
    "V4L2_CTRL_CLASS_MPEG": v4l2.CTRL_CLASS_CODEC,
    "V4L2_CTRL_FLAG_READ_ONLY": v4l2.CTRL_READ_ONLY,
    "V4L2_CTRL_FLAG_DISABLED": v4l2.CTRL_DISABLED,
    "V4L2_CID_MPEG_VIDEO_B_FRAMES": v4l2.CID_B_FRAMES,
    "V4L2_CID_MPEG_VIDEO_GOP_SIZE": v4l2.CID_GOP_SIZE,
    "V4L2_CID_MPEG_VIDEO_BITRATE_MODE": v4l2.CID_BITRATE_MODE,
    "V4L2_CID_MPEG_VIDEO_BITRATE": v4l2.CID_BITRATE,
    "V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE": v4l2.CID_FRAME_RC_ENABLE,
    "V4L2_CID_MPEG_VIDEO_HEADER_MODE": v4l2.CID_HEADER_MODE,
    "V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER": v4l2.CID_REPEAT_SEQ_HEADER,
    "V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME": v4l2.CID_FORCE_KEY_FRAME,
    "V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR": v4l2.CID_PREPEND_SPSPPS_TO_IDR,
    "V4L2_CID_MPEG_VIDEO_AU_DELIMITER": v4l2.CID_AU_DELIMITER,
    "V4L2_CID_MPEG_VIDEO_H264_I_PERIOD": v4l2.CID_H264_I_PERIOD,
    "V4L2_CID_MPEG_VIDEO_H264_LEVEL": v4l2.CID_H264_LEVEL,
    "V4L2_CID_MPEG_VIDEO_H264_PROFILE": v4l2.CID_H264_PROFILE,
    "V4L2_MPEG_VIDEO_BITRATE_MODE_CBR": v4l2.BITRATE_MODE_CBR,
    "V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME": v4l2.HEADER_MODE_JOINED,
    "V4L2_MPEG_VIDEO_H264_PROFILE_HIGH": v4l2.H264_PROFILE_HIGH,
    "V4L2_MPEG_VIDEO_H264_LEVEL_1B": v4l2.H264_LEVELS.index(9),
    "V4L2_MPEG_VIDEO_H264_LEVEL_4_0": v4l2.H264_LEVELS.index(40),
    "V4L2_MPEG_VIDEO_H264_LEVEL_5_1": v4l2.H264_LEVELS.index(51),
    "V4L2_PIX_FMT_YUYV": v4l2.fourcc("YUYV"),
    "V4L2_PIX_FMT_MJPEG": v4l2.fourcc("MJPG"),
    "V4L2_PIX_FMT_H264": v4l2.fourcc("H264"),
    "V4L2_PIX_FMT_YUV420": v4l2.fourcc("YU12"),
    "V4L2_PIX_FMT_FWHT": v4l2.fourcc("FWHT"),
}


def ours() -> dict[str, int]:
    found = {f"sizeof(struct {name})": ctypes.sizeof(kind) for name, kind in STRUCTS.items()}
    for name, kind in STRUCTS.items():
        for field, *_ in kind._fields_:
            place = PLACES.get((name, field), f"bt.{field}" if name == "v4l2_dv_timings" and field != "type" else field)
            found[f"offsetof(struct {name}, {place})"] = getattr(kind, field).offset
    return found | {f"VIDIOC_{name}": getattr(v4l2, name) for name in IOCTLS} | CONSTANTS


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to read the kernel's header")
@pytest.mark.skipif(not Path("/usr/include/linux/videodev2.h").exists(), reason="needs the kernel's header linux/videodev2.h")
@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the structs are those of 64-bit machines")
def test_structs_and_numbers_are_the_kernels(tmp_path: Path) -> None:
    lines = [f'printf("%llu\\n", (unsigned long long)({word}));' for word in ours()]
    headers = "".join(f"#include <{name}.h>\n" for name in ("stddef", "stdio", "sys/time", "linux/videodev2", "linux/v4l2-common"))
    (tmp_path / "sizes.c").write_text(f"{headers}int main(void) {{{chr(10).join(lines)}}}")
    subprocess.run(["gcc", "-w", "-o", tmp_path / "sizes", tmp_path / "sizes.c"], check=True)
    theirs = map(int, subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True).stdout.split())
    assert dict(zip(ours(), theirs, strict=True)) == ours()


def test_a_node_that_is_not_a_video_device_says_so(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    device = v4l2.Device(tmp_path / "video0")
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        device.ioctl(v4l2.QUERYCAP, v4l2.Capability())
    device.close()
    device.close()


def test_pixel_formats_have_names() -> None:
    assert v4l2.fourcc_name(v4l2.fourcc("NV12")) == "NV12"
    assert v4l2.fourcc_name(v4l2.fourcc("Y16 ") | 1 << 31) == "Y16-BE"


def test_the_rate_of_1080p60_timings() -> None:
    timings = v4l2.DvTimings(width=1920, height=1080, pixelclock=148_500_000, hfrontporch=88, hsync=44, hbackporch=148)
    timings.vfrontporch, timings.vsync, timings.vbackporch = 4, 5, 36
    assert timings.rate == 60
