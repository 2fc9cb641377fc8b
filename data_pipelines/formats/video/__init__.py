"""Video in any container that FFmpeg reads, through PyAV: grey frames one at a time, their times, and notes.

`source` opens files safely, `containers` reads what their headers announce, `timing` finds the frame rate, `grey` makes
grey pictures of true shape, `survey` looks at a file before it is decoded, and `decoder` puts these together.
"""

from data_pipelines.formats.video.decoder import DecodedVideo, Video, decode_video, open_video

__all__ = ["DecodedVideo", "Video", "decode_video", "open_video"]
