"""The faster LoRA layers compute what peft's do.   pytest tests/test_engine_fused.py"""

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from sdstudio.engine.fused import fuse_lora


def layers(dora: bool = False, dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 20), torch.nn.GELU(), torch.nn.Linear(20, 7, bias=False))
    config = LoraConfig(r=4, lora_alpha=6, lora_dropout=dropout, target_modules=["0", "2"], use_dora=dora)
    inject_adapter_in_model(config, model)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value)
    return model


def outcome(model: torch.nn.Module) -> list[torch.Tensor]:
    """Output and all gradients for one input of three dimensions."""
    torch.manual_seed(1)
    x = torch.randn(2, 5, 12, requires_grad=True)
    output = model(x)
    output.square().sum().backward()
    return [output.detach(), x.grad, *(value.grad for value in model.parameters() if value.grad is not None)]


@pytest.mark.parametrize(("dora", "dropout"), [(False, 0.0), (False, 0.5), (True, 0.0)])
def test_output_and_gradients_are_those_of_peft(dora: bool, dropout: float) -> None:
    plain = layers(dora, dropout).train()
    fused = copy.deepcopy(plain)
    fuse_lora(fused)
    assert ("forward" in vars(fused[0])) == (not dora)
    one, other = outcome(plain), outcome(fused)
    assert len(one) == len(other) >= 6
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6 * a.abs().max().item())


def test_what_is_saved_and_switched_off_stays_the_same() -> None:
    plain, fused = layers(), layers()
    fuse_lora(fused)
    assert plain.state_dict().keys() == fused.state_dict().keys()
    for model in (plain, fused):
        for layer in (model[0], model[2]):
            layer.enable_adapters(False)
    x = torch.randn(3, 12)
    assert torch.equal(plain(x), fused(x))
