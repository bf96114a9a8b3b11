"""Fine-tuning the way the public example scripts do it: every step decodes and encodes its pictures and its captions.

    python bench/plain/text_to_image.py MODEL PICTURES OUT --method lora --steps 60

PICTURES holds pictures and `metadata.jsonl` (file_name, text). It is the structure of diffusers' examples
`train_text_to_image.py` and `train_text_to_image_lora.py` (min-SNR, AdamW, cosine schedule, clipped gradients,
accelerate, a DataLoader), written again without what does not touch a step. It is a baseline to measure against.
"""

import argparse
import json
import time
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.optimization import get_scheduler
from diffusers.training_utils import cast_training_params, compute_snr
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch.utils.data import DataLoader, Dataset

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
GAMMA = 5.0


class Pictures(Dataset):
    """(pixel values, token ids) of one picture, read, resized, cropped and tokenized each time it is asked for."""

    def __init__(self, folder: Path, tokenizer: object, side: int) -> None:
        lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.folder, self.tokenizer, self.side = folder, tokenizer, side

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        picture = Image.open(self.folder / row["file_name"]).convert("RGB")
        scale = self.side / min(picture.size)
        picture = picture.resize([round(length * scale) for length in picture.size], Image.Resampling.BILINEAR)
        left, top = (picture.width - self.side) // 2, (picture.height - self.side) // 2
        picture = picture.crop((left, top, left + self.side, top + self.side))
        pixels = torch.from_numpy(numpy.array(picture, dtype=numpy.float32) / 127.5 - 1).permute(2, 0, 1)
        tokens = self.tokenizer(
            row["text"],
            max_length=self.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        return {"pixel_values": pixels, "input_ids": tokens.input_ids[0]}


class PlainTrainer:
    """Everything of such a script before its loop; `step()` is one pass through the loop's body."""

    def __init__(self, model: Path, pictures: Path, method: str, batch_size: int, steps: int, precision: str) -> None:
        self.accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
        device = self.accelerator.device
        dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self.pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
        self.noise_scheduler = DDPMScheduler.from_config(self.pipeline.scheduler.config)
        self.vae = self.pipeline.vae.requires_grad_(False).to(device, dtype)
        self.text_encoder = self.pipeline.text_encoder.requires_grad_(False).to(device, dtype)
        unet = self.pipeline.unet
        if method == "lora":
            unet.requires_grad_(False).to(device, dtype)
            unet.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=TARGETS))
            cast_training_params(unet, dtype=torch.float32)
        self.trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(self.trained, lr=1e-4, weight_decay=1e-2)
        side = unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)
        loader = DataLoader(
            Pictures(pictures, self.pipeline.tokenizer, side), shuffle=True, batch_size=batch_size, drop_last=True
        )
        schedule = get_scheduler("cosine", optimizer, num_warmup_steps=10, num_training_steps=steps)
        prepared = self.accelerator.prepare(unet, optimizer, loader, schedule)
        self.unet, self.optimizer, self.loader, self.lr_scheduler = prepared
        self.batches = self._endless()

    def _endless(self):
        while True:
            self.unet.train()
            yield from self.loader

    def step(self) -> float:
        batch = next(self.batches)
        latents = self.vae.encode(batch["pixel_values"].to(self.vae.dtype)).latent_dist.sample()
        latents = latents * self.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        count = self.noise_scheduler.config.num_train_timesteps
        timesteps = torch.randint(0, count, (len(latents),), device=latents.device)
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        text = self.text_encoder(batch["input_ids"])[0]
        predicted = self.unet(noisy, timesteps, text, return_dict=False)[0]
        snr = compute_snr(self.noise_scheduler, timesteps)
        weights = torch.stack([snr, GAMMA * torch.ones_like(snr)], dim=1).min(dim=1)[0]
        if self.noise_scheduler.config.prediction_type == "v_prediction":
            target, weights = self.noise_scheduler.get_velocity(latents, noise, timesteps), weights / (snr + 1)
        else:
            target, weights = noise, weights / snr
        loss = F.mse_loss(predicted.float(), target.float(), reduction="none")
        loss = (loss.mean(dim=list(range(1, loss.ndim))) * weights).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad()
        return loss.detach().item()

    def save(self, folder: Path, method: str) -> None:
        unet = self.accelerator.unwrap_model(self.unet)
        if method == "lora":
            StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))
        else:
            self.pipeline.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    started = time.perf_counter()
    trainer = PlainTrainer(
        arguments.model, arguments.pictures, arguments.method, arguments.batch_size, arguments.steps, "no"
    )
    for step in range(1, arguments.steps + 1):
        loss = trainer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss:.4f}, {time.perf_counter() - started:.1f} s", flush=True)
    trainer.save(arguments.out, arguments.method)


if __name__ == "__main__":
    main()
