"""The app's settings: from its environment, and from the secrets in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Base64Str, BaseModel, ConfigDict, Field


class BadSecret(Exception):
    """A secret that cannot be read, or is too short to be one; says its file, never its text."""


class Settings(BaseModel):
    """Each field is an environment variable in capitals; pydantic's ValidationError says what is wrong."""

    model_config = ConfigDict(frozen=True)

    ollama_host: str
    """URL of the gateway."""
    ollama_num_parallel: int = Field(ge=1)
    ollama_max_queue: int = Field(ge=1)
    app_model: str = Field(min_length=1)
    app_models: str = ""
    """Models among which students choose, with commas between; none: ``app_model`` alone."""
    app_system_prompt: Base64Str = Field("", repr=False)
    """The system prompt before every question; in base64, so that no shell or YAML reads it."""
    app_threads: int = Field(64, ge=1)
    """Requests at once: one for each that waits or is answered, and some for pages."""
    app_max_prompt: int = Field(2000, ge=1)
    """Characters."""
    app_max_answer: int = Field(512, ge=1)
    """Tokens."""
    app_max_seconds: int = Field(900, ge=1)
    """The longest that one answer may take, the gateway's queue included."""
    app_questions_per_minute: int = Field(6, ge=1)
    app_questions_at_once: int = Field(4, ge=1)
    """Of one student, waiting or being answered."""
    app_address_share: int = Field(75, ge=1, le=100)
    """Percent of all places that one address may fill while others ask too."""
    app_log_prompts: bool = False
    app_hosts: str = ""
    """Names under which the page is reached, with commas between; none: any name."""
    app_secrets: Path
    """Folder with cookie.key, gateway.token and teacher.token."""

    @property
    def hosts(self) -> list[str]:
        """``app_hosts``, one by one."""
        return self.app_hosts.split(",") if self.app_hosts else []

    @property
    def models(self) -> list[str]:
        """The models that are offered; the first one answers whoever does not choose."""
        return self.app_models.split(",") if self.app_models else [self.app_model]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in an environment; variables of others are let be."""
        lower = {name.lower(): value for name, value in environment.items()}
        return cls.model_validate({name: lower[name] for name in cls.model_fields if name in lower})

    def secret(self, name: str) -> str:
        """One of the secrets, as it is now; BadSecret if it is none."""
        path = self.app_secrets / name
        try:
            found = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSecret(f"{path} cannot be read: {type(error).__name__}") from error
        if len(found) < 32:
            raise BadSecret(f"{path} is shorter than 32 characters: openssl rand -hex 32 makes one")
        return found
