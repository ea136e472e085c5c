"""What do all views have in common?"""

from pydantic import BaseModel, ConfigDict


class Shown(BaseModel):
    """Base of what is shown. Instants are ISO 8601 with offset; nano-dollars are billionths of a US dollar."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
