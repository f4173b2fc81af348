"""Pictures and video: JPEG, color, perceptual hashes, and decoding of video."""
