"""Sequential fine-tuning of the whole network: the lower bound."""

from __future__ import annotations

from benchmark import Method, register


@register("sequential")
class Sequential(Method):
    """Fine-tunes the whole network on task after task.

    Every parameter and the current task's linear head are trained with the cross-entropy over the
    current task's classes; prediction takes the largest logit of the heads of all classes seen.
    Nothing but the model is kept between tasks. Expanded parameters: 0.

    The InfLoRA repository ships only a network for this row, whose prediction also reads the
    untrained heads of future tasks; here heads appear with their task. Its optimiser settings are
    not published.
    """

    role = "bound"
