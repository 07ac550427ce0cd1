"""
A picture, decoded and written anew: without what it tells of the guest beside what it shows.

Runs in the worker alone. A picture that was decoded and encoded holds pixels, colours and nothing else: no place where
it was taken, no comment, no second file behind the first. JPEG keeps its own quantisation, so it loses next to nothing.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any, Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from guestwire.media.frames import Change, Done, Job, Refused

_ORIENTATION: Final = 0x0112
#: How a picture has to be turned to be seen as it was meant. Source: EXIF 2.3, tag 0x0112.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What is kept of what stands beside the pixels: without it the picture would look or run otherwise.
_KEPT: Final = ("icc_profile", "transparency", "duration", "loop", "background", "gamma", "srgb")
_TELLING: Final = (
    "exif",
    "xmp",
    "XML:com.adobe.xmp",
    "comment",
    "photoshop",
    "Raw profile type exif",
    "mp",
    "mpoffset",
)
#: Imported by name, because nothing can be imported any more once files arrive.
PLUGINS: Final = (
    *(BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin),
    *(PngImagePlugin, TiffImagePlugin, WebPImagePlugin),
)
#: A picture that has to become smaller than this, in pixels of a side, is not worth sending.
LEAST_SIDE: Final = 16
#: A PNG of more pixels is not compressed a second time.
TRY_HARDER_PIXELS: Final = 10_000_000
#: Qualities to try before the picture itself is made smaller.
_QUALITIES: Final = (85, 70)
#: Modes that can be scaled smoothly.
_SMOOTH: Final = frozenset(("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I", "F"))


def clean(job: Job) -> Done | Refused:
    """Decode a picture within its bounds, and write it anew."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None  # counted below, against the limit that the job names
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _clean(job)
    except MemoryError:
        return Refused("memory")
    except Exception:  # whatever a decoder says of a hostile file, it says that the file is broken
        return Refused("broken")


def _clean(job: Job) -> Done | Refused:
    with Image.open(BytesIO(job.content), formats=(job.form,)) as picture:
        width, height = picture.size
        if width * height > job.max_pixels:
            return Refused("pixels", width, height)
        # The second picture of a JPEG is a preview or a map of brightness.
        frames = 1 if job.form == "JPEG" else getattr(picture, "n_frames", 1)
        if frames > job.max_frames or frames * width * height > job.max_pixels:
            return Refused("frames", width, height)
        return _animated(picture, frames, job) if frames > 1 else _still(picture, job)


def _still(picture: Any, job: Job) -> Done | Refused:
    picture.load()
    changed: list[Change] = ["metadata"] if _tells(picture) else []
    options: dict[str, Any] = {}
    exif = _exif_of(picture)
    if job.form == "JPEG":
        options["qtables"] = picture.quantization
        options["subsampling"] = JpegImagePlugin.get_sampling(picture)
        options["progressive"] = bool(picture.info.get("progressive"))
    elif job.form == "WEBP":
        options |= {"lossless": True} if _is_lossless(job.content) else {"quality": 90}
    turn = _TURNS.get(exif.get(_ORIENTATION, 1)) if exif else None
    if job.keep_exif and exif:
        exif[_ORIENTATION] = 1
        options["exif"] = exif.tobytes()
        changed = []
    picture.info = {key: value for key, value in picture.info.items() if key in _KEPT}
    if "icc_profile" in picture.info:
        options["icc_profile"] = picture.info["icc_profile"]
    if turn is not None:
        info = picture.info
        picture = picture.transpose(turn)
        picture.info = info
        changed.append("orientation")
    content = _written(picture, job.form, options)
    if len(content) <= job.max_bytes:
        return Done(content, tuple(changed))
    return _fitted(picture, job, options, changed, len(content))


def _fitted(picture: Any, job: Job, options: dict[str, Any], changed: list[Change], size: int) -> Done | Refused:
    """Spend quality first, then pixels."""
    if job.form == "PNG":
        # Trying harder gains a few per cent, and takes several times as long.
        if size <= job.max_bytes * 1.2 and picture.width * picture.height <= TRY_HARDER_PIXELS:
            content = _written(picture, job.form, {**options, "optimize": True})
            if len(content) <= job.max_bytes:
                return Done(content, tuple(changed))
        picture = (
            picture.convert("RGBA" if "transparency" in picture.info else "RGB") if picture.mode == "P" else picture
        )
    if job.form in ("JPEG", "WEBP"):
        changed.append("quality")
        for quality in _QUALITIES:
            options = {key: value for key, value in options.items() if key in ("exif", "icc_profile", "progressive")}
            options["quality"] = quality
            content = _written(picture, job.form, options)
            if len(content) <= job.max_bytes:
                return Done(content, tuple(changed))
            size = len(content)
    changed.append("size")
    for _ in range(10):
        scale = min(0.9, (job.max_bytes / size) ** 0.5 * 0.95)
        width, height = int(picture.width * scale), int(picture.height * scale)
        if min(width, height) < LEAST_SIDE:
            break
        info = picture.info
        picture = _scaled(picture, width, height)
        picture.info = info
        content = _written(picture, job.form, options)
        if len(content) <= job.max_bytes:
            return Done(content, tuple(changed))
        size = len(content)
    return Refused("too_large")


def _animated(picture: Any, frames: int, job: Job) -> Done | Refused:
    changed: list[Change] = ["metadata"] if _tells(picture) else []
    shown: list[Any] = []
    durations: list[float] = []
    for number in range(frames):
        picture.seek(number)
        picture.load()
        durations.append(picture.info.get("duration", 0))
        shown.append(picture.convert("RGBA"))
    if any(frame.getextrema()[3][0] < 255 for frame in shown):
        options: dict[str, Any] = {"disposal": 2} if job.form == "GIF" else {}
    else:
        options = {}
        shown = [frame.convert("RGB") for frame in shown]
    options |= {"duration": durations}
    if "loop" in picture.info:
        options["loop"] = picture.info["loop"]
    if job.form == "WEBP":
        options |= {"lossless": True} if _is_lossless(job.content) else {"quality": 85}
    content = b""
    for _ in range(8):
        for frame in shown:
            frame.info = {}
        content = _written(shown[0], job.form, {**options, "save_all": True, "append_images": shown[1:]})
        if len(content) <= job.max_bytes:
            return Done(content, tuple(changed))
        if "size" not in changed:
            changed.append("size")
        scale = min(0.9, (job.max_bytes / len(content)) ** 0.5 * 0.95)
        width, height = int(shown[0].width * scale), int(shown[0].height * scale)
        if min(width, height) < LEAST_SIDE:
            break
        shown = [_scaled(frame, width, height) for frame in shown]
    return Refused("too_large")


def _written(picture: Any, form: str, options: dict[str, Any]) -> bytes:
    out = BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def _scaled(picture: Any, width: int, height: int) -> Any:
    if picture.mode == "1":
        picture = picture.convert("L")
    smooth = picture.mode in _SMOOTH
    return picture.resize(
        (width, height),
        Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST,
        reducing_gap=2.0 if smooth else None,
    )


def _exif_of(picture: Any) -> Any:
    """The EXIF of a picture; None where there is none that can be read."""
    try:
        return picture.getexif() or None
    except Exception:  # broken beside the pixels: nothing to turn by
        return None


def _tells(picture: Any) -> bool:
    """Whether a picture brings more than it shows."""
    if any(picture.info.get(key) for key in _TELLING) or getattr(picture, "text", None):
        return True
    parts = getattr(picture, "applist", ())
    return any(name not in ("APP0", "APP14") and not data.startswith(b"ICC_PROFILE") for name, data in parts)


def _is_lossless(content: bytes) -> bool:
    return b"VP8L" in content and b"VP8 " not in content
