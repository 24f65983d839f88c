"""What the methods answer, besides the list of tools; loaded with what they need."""

from meigen_mcp.media.store import Media
from meigen_mcp.server.generation_tasks import GenerationTasks
from meigen_mcp.server.prompts import Prompts
from meigen_mcp.server.resources import Resources
from meigen_mcp.server.tools import Tools
from meigen_mcp.service.service import Service


class Handlers:
    """The handlers of a server over the use cases.

    Args:
        service: the use cases.
        media: what reads results and previews back.
    """

    def __init__(self, service: Service, media: Media) -> None:
        self.service = service
        self.media = media
        self.tools = Tools(service, media)
        self.resources = Resources(service, media)
        self.prompts = Prompts(service)
        self.tasks: GenerationTasks = self.tools.tasks
