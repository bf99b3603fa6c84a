"""Sequential fine-tuning of the whole network: the lower bound."""

from __future__ import annotations

from benchmark import Method, register


@register("sequential")
class Sequential(Method):
    """Fine-tunes the whole network on one task after another.

    Every parameter and the current task's linear head are trained with the cross-entropy over the
    current task's classes; prediction takes the largest logit of the heads of all classes seen.

    Kept between tasks: the model. Expanded parameters: 0.

    Deviations from the InfLoRA repository, which has only a network for this row: heads appear with
    their task, where its prediction also reads the untrained heads of future tasks. Its optimizer
    settings are not published.
    """

    role = "bound"
