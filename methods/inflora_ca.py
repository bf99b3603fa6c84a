"""InfLoRA+CA: InfLoRA with classifier alignment."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark import register, setting
from benchmark.peft.alignment import AlignedHeads, AlignmentSettings
from methods.inflora import InfLoRA


@register("inflora_ca")
class InfLoRACA(AlignedHeads, InfLoRA):
    """InfLoRA whose heads are aligned after every task, on features drawn from class Gaussians.

    Liang and Li, CVPR 2024, the InfLoRA+CA of the comparison with SLCA. A task is trained as in
    `inflora`. Then mean and covariance of its classes are taken, under W_t and over plain images,
    and from the second task on the heads of all tasks are trained on drawn features. The aligned
    heads stay, and are where the next alignment starts (SLCA goes back to those before it). Old
    statistics are never renewed; the shrinking of old means and the normalised logits come from
    SLCA's code and are not mentioned in the paper. Prediction takes the raw logits.

    Kept between tasks: what InfLoRA keeps, and mean and covariance of every class seen, C (d + d^2)
    numbers (the covariance as its Cholesky factor).
    Expanded parameters: those of `inflora`, blocks * 2 * (2 * width) * rank.

    The official code has two learners, both with a plain GPM and thresholds from 0.95; the recipes
    belong to the suite. ImageNet-R (the defaults here): rank 10, SGD of rate 1e-3 for branches and
    heads, momentum 0.9, no decay, cosine over 50 epochs. CIFAR100: rank 5, `fresh_norm` (frozen,
    without the pre-trained affine part), SGD of rate 1e-3 and 1e-2 for the heads, weight decay
    1e-3, 20 epochs divided by 10 at epoch 18; its plain learner would switch `logit_norm` off on
    CIFAR100 (0 here), the one behind the released setting has 0.1.

    Deviations from the official code: weight decay does not reach the branches of past tasks (there
    it goes on shrinking them, as a zero gradient is not a missing one); tasks may differ in size;
    covariances are factored once, in float64. Further those of `inflora`.
    """

    @dataclass(frozen=True)
    class Config(AlignmentSettings, InfLoRA.Config):
        """Settings of `inflora_ca`: those of `inflora` with other defaults, and the alignment."""

        lamb: float = setting(0.95, "share of energy to protect after the first task", low=0)
        memory: str = setting("gpm", "kind of gradient memory", choices=("dualgpm", "gpm"))
