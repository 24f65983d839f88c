"""What saves and reads the media of an account, made as its settings say."""

import logging
import os

from meigen_mcp.api.client import Api
from meigen_mcp.media.archive import FolderArchive
from meigen_mcp.media.links import MediaLinks
from meigen_mcp.media.store import Media
from meigen_mcp.settings import Settings
from meigen_mcp.system import SECRET_BYTES, private_folder, secret

log = logging.getLogger(__name__)


def open_media(settings: Settings, api: Api) -> Media:
    """Return what saves results and reads them back."""
    return Media(
        api,
        settings.output_dir,
        previews=settings.data_dir / "previews",
        discreet=settings.discreet,
        level=settings.metadata,
        archive=FolderArchive(settings.media_dir) if settings.media_dir else None,
        links=_links(settings),
    )


def _links(settings: Settings) -> MediaLinks | None:
    """Return what makes the URLs of results that last; None: there are none.

    Servers that share their keys take each other's; one alone has a key in its data folder.
    """
    if settings.media_dir is None or settings.media_url is None:
        return None
    keys = [key.encode() for key in settings.request_keys]
    if not keys:
        try:
            private_folder(settings.data_dir)
            keys = [secret(settings.data_dir / "media-key")]
        except OSError:  # the ledger says so as well; until it is mended nobody's are opened
            log.warning("MEIGEN_DATA_DIR cannot keep the key of media URLs: they end with this run")
            keys = [os.urandom(SECRET_BYTES)]
    return MediaLinks(settings.media_url, keys)
