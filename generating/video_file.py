"""Video files, by their ending: .mp4 (H.264), .gif, .webp. ffmpeg, which imageio-ffmpeg brings, encodes them frame by frame."""

import contextlib
import errno
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from dnnlib.files import whole_file

# crf: constant quality, 0 lossless, 51 worst; 4:2:0, since few players show other kinds. A palette for each frame, so that no
# frame has to wait for the last one.
ENCODERS = {
    '.mp4': ('-c:v', 'libx264', '-crf', '17', '-pix_fmt', 'yuv420p', '-movflags', '+faststart'),
    '.gif': ('-vf', 'split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1', '-loop', '0'),
    '.webp': ('-c:v', 'libwebp_anim', '-quality', '90', '-loop', '0'),
}
MAX_FPS = {'.mp4': 120, '.gif': 50, '.webp': 100}  # a GIF's delays are hundredths of a second, and browsers slow down 1


def check_video(path: Path, fps: int) -> None:
    """ValueError if the ending is none of ENCODERS, the format is not that fast, or imageio-ffmpeg is missing."""
    ending = path.suffix.lower()
    if ending not in ENCODERS:
        raise ValueError(f'--video={path}: expected a name that ends in {", ".join(ENCODERS)}')
    if fps > MAX_FPS[ending]:
        raise ValueError(f'--fps={fps}: {ending} files show at most {MAX_FPS[ending]} frames per second; give fewer')
    _find_ffmpeg()


@contextlib.contextmanager
def video_file(path: Path, fps: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives a function that adds a frame, uint8 [H, W, 3], all of one size. The file appears when the block ends, or not at all.

    H.264 has even sizes only: there an odd frame gets a white line below or on the right. RuntimeError if ffmpeg fails, OSError
    if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, tempfile.TemporaryFile() as messages:
        encoder = _Encoder(path, part, fps, messages)
        try:
            yield encoder.add
            encoder.finish()
        finally:
            encoder.stop()


class _Encoder:
    """An ffmpeg that writes to `part`; it starts with the first frame, when the size is known. messages: for what it says."""

    def __init__(self, path: Path, part: Path, fps: int, messages: IO[bytes]):
        self.path, self.part, self.fps, self.messages = path, part, fps, messages
        self.needs_even = path.suffix.lower() == '.mp4'
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, frame: np.ndarray) -> None:
        if self.needs_even:
            height, width, _channels = frame.shape
            frame = np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], constant_values=255)
        if self.process is None:
            self.process = self._start(*frame.shape[:2])
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(frame.tobytes())
        except BrokenPipeError as error:
            raise self._failure(self.process.wait()) from error

    def finish(self) -> None:
        assert self.process is not None and self.process.stdin is not None, 'a video has frames'
        with contextlib.suppress(BrokenPipeError):  # then the exit code tells
            self.process.stdin.close()
        code = self.process.wait()
        if code:
            raise self._failure(code)

    def stop(self) -> None:
        """After an error or Ctrl-C nobody wants the rest."""
        if self.process is not None and self.process.stdin is not None:
            self.process.kill()  # of one that has ended: nothing
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _start(self, height: int, width: int) -> 'subprocess.Popen[bytes]':
        raw = ('-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{width}x{height}', '-framerate', str(self.fps), '-i', '-')
        command = [_find_ffmpeg(), '-v', 'error', '-y', *raw, *ENCODERS[self.path.suffix.lower()], str(self.part)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.messages)

    def _failure(self, code: int) -> Exception:
        self.messages.seek(0)
        text = self.messages.read().decode(errors='replace')
        if 'No space left on device' in text:
            return OSError(errno.ENOSPC, 'No space left on device', str(self.path))
        last = text.strip().rpartition('\n')[2] or 'no message'
        return RuntimeError(f'ffmpeg could not write {self.path} (exit code {code}: {last})')


def _find_ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ValueError("--video needs imageio-ffmpeg: pip install 'hyper-stylegan2[video]', or pip install "
                         'imageio-ffmpeg') from error
    return imageio_ffmpeg.get_ffmpeg_exe()
