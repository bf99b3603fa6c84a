"""Whatever wraps a checkpoint: the tensors that are meant, or an error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.backbones.files import read_weights
from benchmark.backbones.load import load_backbone

SMALL = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = ["state_dict", "model", "teacher", "student", "state_dict_ema", "model_ema", "optimizer"]
PREFIXES = ["", "module.", "backbone.", "module.backbone.", "encoder."]


@st.composite
def wrappings(draw: Any) -> Any:
    """Containers around `"TENSORS"`, which may be there several times with an offset each."""
    content: Any = (draw(st.sampled_from(PREFIXES)), draw(st.integers(0, 2)))
    for _ in range(draw(st.integers(0, 4))):
        content = {draw(st.sampled_from(NAMES)): content}
        if draw(st.booleans()):
            content[draw(st.sampled_from(NAMES))] = draw(
                st.sampled_from([3, None, "text", {}, [], {"lr": 0.1}]) | st.just(("", 1))
            )
    return content


def filled(content: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(content, tuple):
        return {f"{content[0]}{name}": value + content[1] for name, value in tensors.items()}
    if isinstance(content, dict):
        return {key: filled(value, tensors) for key, value in content.items()}
    return content


@SMALL
@given(wrapped=wrappings())
def test_any_wrapper(wrapped: Any, vit_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "any.pth"
    torch.save(filled(wrapped, vit_tensors), path)
    try:
        found = load_backbone(f"file:{path}:heads=2").model.state_dict()
    except BackboneError as error:
        assert "any.pth" in str(error)
        return
    offset = found["norm.bias"] - vit_tensors["norm.bias"]
    assert torch.allclose(offset, offset[0].round().expand_as(offset), atol=1e-6)
    for name, value in found.items():  # of one and the same model
        torch.testing.assert_close(value, vit_tensors[name] + offset[0].round())


@SMALL
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x40" + b"\0" * 7 + b"{"])
def test_any_bytes(start: bytes, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(start + content)
    with pytest.raises(BackboneError, match=r"any\.bin"):
        read_weights(path)


@SMALL
@given(data=st.data())
def test_any_tensor_changed(data: Any, vit_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = dict(vit_tensors)
    name = data.draw(st.sampled_from(sorted(tensors)))
    change = data.draw(st.sampled_from(["drop", "rename", "cut", "whole", "bool", "grow"]))
    value = tensors.pop(name)
    if change != "drop":
        tensors[f"{name}x" if change == "rename" else name] = {
            "rename": value,
            "cut": value[..., :-1] if value.shape[-1] > 1 else value[..., :0],
            "whole": value.long(),
            "bool": value > 0,
            "grow": value[None],
        }[change]
    path = tmp_path / "changed.pth"
    torch.save(tensors, path)
    try:
        load_backbone(f"file:{path}:heads=2")
    except BackboneError as error:
        assert "changed.pth" in str(error)
    else:  # a network without this part is another one, and a whole one
        assert change in ("drop", "rename")
