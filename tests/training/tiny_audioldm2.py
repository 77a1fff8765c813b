"""A whole AudioLDM 2 of a few thousand random weights, saved in diffusers' layout."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DDIMScheduler,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    ClapConfig,
    ClapModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

WORDS = ("<pad>", "</s>", "<unk>", "Music", ".", "calm", "piano")
VOCABULARY = 256


def save_tiny_audioldm2(folder: Path, seed: int = 0) -> Path:
    """Every module that training reads, the text encoders included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AudioLDM2UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=([None, 16, 32], [None, 16, 32]),
            attention_head_dim=4,
            norm_num_groups=8,
        ).save_pretrained(folder / "unet")
        AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(32, 64),
            latent_channels=4,
            scaling_factor=0.41,
        ).save_pretrained(folder / "vae")
        GPT2Model(
            GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, vocab_size=8)
        ).save_pretrained(folder / "language_model")
        SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=16,
                sampling_rate=16_000,
                upsample_initial_channel=8,
                upsample_rates=[16, 10],
                upsample_kernel_sizes=[32, 20],
                resblock_kernel_sizes=[3],
                resblock_dilation_sizes=[[1]],
                normalize_before=False,
            )
        ).save_pretrained(folder / "vocoder")
        T5EncoderModel(
            T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=VOCABULARY)
        ).save_pretrained(folder / "text_encoder_2")
        ClapModel(
            ClapConfig(
                text_config={
                    "hidden_size": 16,
                    "intermediate_size": 16,
                    "num_attention_heads": 2,
                    "num_hidden_layers": 1,
                    "vocab_size": VOCABULARY,
                    "pad_token_id": 0,
                    "projection_dim": 16,
                },
                audio_config={
                    "spec_size": 64,
                    "window_size": 4,
                    "num_mel_bins": 64,
                    "depths": [1, 1],
                    "num_attention_heads": [2, 2],
                    "num_hidden_layers": 2,
                    "patch_embeds_hidden_size": 8,
                    "hidden_size": 16,
                    "projection_dim": 16,
                },
                projection_dim=16,
            )
        ).save_pretrained(folder / "text_encoder")
        AudioLDM2ProjectionModel(16, 32, 16).save_pretrained(folder / "projection_model")
    DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    for name in ("tokenizer", "tokenizer_2"):
        PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ).save_pretrained(folder / name)
    return folder


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """The same with tokenizers of the published classes, each of a hundred words."""
    save_tiny_audioldm2(folder, seed)
    words = ["calm", "piano", "a", "quiet", "storm", *(f"w{n}" for n in range(120))]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    pieces += [(f"\u2581{word}", -2.0) for word in words]
    T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=16).save_pretrained(
        folder / "tokenizer_2"
    )
    letters = [*map(chr, range(33, 127)), "\u0120", *(f"\u0120{chr(n)}" for n in range(97, 123))]
    known = {w: n for n, w in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters])}
    merges = [("\u0120", chr(n)) for n in range(97, 123)]
    RobertaTokenizer(vocab=known, merges=merges, model_max_length=16).save_pretrained(
        folder / "tokenizer"
    )
    return folder
