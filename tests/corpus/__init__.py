"""Small files of every kind that ffmpeg writes here, compared with ffmpeg's own decode."""
