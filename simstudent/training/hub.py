"""Uploading an exported student to the Hugging Face hub: only when asked, privately unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simstudent.errors import SimstudentError


def check_hub(name: str, *, public: bool) -> None:
    """Refuse what could not be uploaded, before the work: a name of the wrong form, no login, a public repository.

    ``public``: whether everyone may read it. A repository that is there already, is public and was not asked to be, is
    refused: a student's programs would be out before anyone noticed.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils._validators import validate_repo_id

    # A missing network comes through as the error of httpx, or of httpx2, whichever the hub's library speaks through.
    unreachable: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    try:
        validate_repo_id(name)
        api = HfApi()
        api.whoami()
        try:
            private = bool(api.model_info(name).private)
        except RepositoryNotFoundError:
            return
    except HFValidationError as error:
        raise SimstudentError(f"--push-to-hub {name}: {error}") from None
    except (HfHubHTTPError, unreachable, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SimstudentError(f"--push-to-hub: the hub cannot be used ({reason}). Fix: run 'hf auth login'") from None
    if private and public:
        raise SimstudentError(f"--public: {name} is there and private. Make it public on the hub, or name another one")
    if not private and not public:
        raise SimstudentError(f"--push-to-hub {name}: it is there and public. Fix: another name, or --public")


def push(folder: Path, name: str, *, public: bool, say: Callable[[str], None]) -> None:
    """Upload an exported folder. The repository is made private unless ``public``."""
    from huggingface_hub import HfApi

    who = "everyone" if public else "you and those you let in"
    say(f"WARNING: uploading weights that can reproduce students' programs, for {who} to read: {name}")
    api = HfApi()
    api.create_repo(name, private=not public, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder, commit_message="Simulated student, exported by simstudent")
    say(f"Uploaded: {name} ({'public' if public else 'private'})")
