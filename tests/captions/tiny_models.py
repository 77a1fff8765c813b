"""Random models of the right shape, made on the spot: real transformers code, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_blip(folder: Path) -> Path:
    """A BLIP captioner of 50,000 weights with a vocabulary of words and letters."""
    import torch
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "painting", "of", "the", "sea"]
    words += ["with", "boats", "in", "blue", ".", ",", *letters[1:], *(f"##{c}" for c in letters)]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **tower,
            "vocab_size": len(words),
            "encoder_hidden_size": 32,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
            "bos_token_id": 2,
            "pad_token_id": 0,
            "eos_token_id": 3,
            "sep_token_id": 3,
        },
        vision_config={**tower, "intermediate_size": 32, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def make_florence2(folder: Path) -> Path:
    """A Florence-2 model (DaViT and BART) with a vocabulary of bytes."""
    from transformers import (
        BartTokenizer,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *_byte_alphabet()]
    tokenizer = BartTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    config = Florence2Config(
        text_config={"model_type": "bart", **small_bart(len(tokenizer))},
        vision_config={
            "depths": (1, 1, 1, 1),
            "embed_dim": (8, 8, 16, 16),
            "num_heads": (1, 1, 2, 2),
            "num_groups": (1, 1, 2, 2),
            "window_size": 4,
            "projection_dim": 32,
        },
        image_token_id=tokenizer.image_token_id,
    )
    _save(Florence2ForConditionalGeneration(config), folder)
    # A picture of 64 pixels becomes 2 x 2 places and their mean.
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5
    )
    Florence2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def make_qwen2_vl(folder: Path) -> Path:
    """A Qwen2-VL model with its chat form and a vocabulary of bytes."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    tower = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 2}
    classes = (Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor)
    return _make_qwen_vl(folder, tower, *classes)


def make_qwen2_5_vl(folder: Path) -> Path:
    """A Qwen2.5-VL model with its chat form and a vocabulary of bytes."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
    )

    tower = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "out_hidden_size": 32,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    classes = (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor)
    return _make_qwen_vl(folder, tower, *classes)


QWEN_VL_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _make_qwen_vl(
    folder: Path, tower: dict[str, Any], config_class: Any, model_class: Any, processor_class: Any
) -> Path:
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    names = ["image_pad", "video_pad", "vision_start", "vision_end"]
    tokenizer = _byte_tokenizer([f"<|{name}|>" for name in ("im_start", *names)])
    text = {**_small_qwen(tokenizer), "bos_token_id": None}
    text["rope_scaling"] = {"type": "mrope", "mrope_section": [2, 3, 3]}
    del text["model_type"]  # the text half has a type of its own
    ids = tokenizer.convert_tokens_to_ids([f"<|{name}|>" for name in names])
    config = config_class(
        text_config=text,
        vision_config={**tower, "patch_size": 14},
        image_token_id=ids[0],
        video_token_id=ids[1],
        vision_start_token_id=ids[2],
        vision_end_token_id=ids[3],
    )
    _save(model_class(config), folder)
    images = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=84 * 84)
    videos = Qwen2VLVideoProcessor()
    processor_class(images, tokenizer, videos, chat_template=QWEN_VL_CHAT).save_pretrained(folder)
    return folder


def small_bart(vocabulary: int) -> dict[str, Any]:
    """Settings of a BART of one layer."""
    return {
        "vocab_size": vocabulary,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 256,
    }


def _save(model: Any, folder: Path) -> None:
    """Save a model whose weights are large enough for what it sees to change what it says."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.5)
    model.save_pretrained(folder)


def make_qwen2_audio(folder: Path) -> Path:
    """A Qwen2-Audio model with its own chat form and a vocabulary of bytes."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = _byte_tokenizer(["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>"])
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 16,
            "max_source_positions": 200,
        },
        text_config=_small_qwen(tokenizer),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    Qwen2AudioProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def _small_qwen(tokenizer: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _byte_tokenizer(special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {char: index for index, char in enumerate(_byte_alphabet())}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=special,
    )


def _byte_alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())
