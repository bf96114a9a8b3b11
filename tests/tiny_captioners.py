"""Small random captioners in the layouts that the Hub has."""

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "cat", "dog", "red", "blue", "a", "photo", "of", "##s"]
CHAT_WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", "<image>", "USER:", "ASSISTANT:", *WORDS[6:]]
CHAT_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def make_blip(folder):
    """A small random BLIP in the layout of Salesforce/blip-image-captioning-base (preprocessor_config.json)."""
    import torch
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    text = dict(
        vocab_size=len(WORDS),
        hidden_size=16,
        encoder_hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=WORDS.index("[DEC]"),
        sep_token_id=WORDS.index("[SEP]"),
        pad_token_id=0,
    )
    vision = dict(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    assert (folder / "preprocessor_config.json").exists()
    assert (folder / "model.safetensors").exists()
    return folder


def make_llava(folder):
    """A small random LLaVA, saved as the Hub's are: CLIP tower, Llama, processor with a chat template."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(CHAT_WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    side = {"height": 32, "width": 32}
    hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size=side, crop_size=side),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    small = dict(hidden_size=16, intermediate_size=32, num_attention_heads=2)
    vision = hf.CLIPVisionConfig(**small, num_hidden_layers=2, image_size=32, patch_size=16, projection_dim=16)
    text = hf.LlamaConfig(
        **small, vocab_size=len(CHAT_WORDS), num_hidden_layers=1, num_key_value_heads=2, max_position_embeddings=256,
        bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(1)
    config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=vocabulary["<image>"])
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder
