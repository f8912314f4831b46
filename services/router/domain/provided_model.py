"""What an operator declares of a provider's model, where the gateway does not know it or knows it wrongly."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.dialect import CAPABILITIES
from services.kernel.errors import InvalidInput
from services.kernel.names import no_such
from services.router.domain.model_limits import ModelLimits, limits_of

MAX_MODELS = 1_000
_MAX_TOKENS = 1_000_000_000
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class ProvidedModel:
    """One model, as its provider names it. What is None or 0 is not declared."""

    name: str
    context_window: int = 0
    """In tokens."""
    max_output: int = 0
    """In tokens."""
    carries: tuple[str, ...] | None = None
    """Names of features. It lacks all others of `CAPABILITIES`."""

    @property
    def limits(self) -> ModelLimits:
        """What is declared, and for the rest what is known of models with such a name."""
        known = limits_of(self.name)
        lacks = known.lacks if self.carries is None else CAPABILITIES - set(self.carries)
        return ModelLimits(
            self.max_output or known.max_output,
            self.context_window or known.context_window,
            lacks,
            known.is_output_known or self.max_output > 0,
        )


def check_provided_models(field: str, models: tuple[ProvidedModel, ...]) -> None:
    """Checks what is declared of a provider's models.

    Raises:
        InvalidInput: a name is missing, unknown or given twice, or a number is out of range.
    """
    if len(models) > MAX_MODELS:
        raise InvalidInput(field, f"at most {MAX_MODELS} models")
    names: set[str] = set()
    for at, model in enumerate(models):
        path = f"{field}[{at}]"
        if not 1 <= len(model.name) <= _MAX_NAME:
            raise InvalidInput(
                f"{path}.name", f"write the provider's name for the model, at most {_MAX_NAME} characters"
            )
        if model.name in names:
            raise InvalidInput(f"{path}.name", f"{model.name} comes twice")
        names.add(model.name)
        for member in ("context_window", "max_output"):
            if not 0 <= getattr(model, member) <= _MAX_TOKENS:
                raise InvalidInput(f"{path}.{member}_tokens", f"write 1 to {_MAX_TOKENS} tokens")
        for feature in model.carries or ():
            if feature not in CAPABILITIES:
                raise InvalidInput(f"{path}.carries", no_such("feature", feature, CAPABILITIES))
