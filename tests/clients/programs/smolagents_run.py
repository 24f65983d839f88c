"""smolagents, whose agents are no coroutines: what is to be cut is interrupted."""

import json
import os
import threading

from common import ARGS, COMMAND, MODEL
from mcp import StdioServerParameters
from smolagents import MCPClient, OpenAIServerModel, ToolCallingAgent

server = StdioServerParameters(command=COMMAND, args=ARGS, env=dict(os.environ))
with MCPClient(server, structured_output=False) as tools:
    model = OpenAIServerModel("scripted", api_base=f"{MODEL}/v1", api_key="x")
    for prompt, seconds in json.loads(os.environ["PROMPTS"]):
        agent = ToolCallingAgent(tools=tools, model=model, verbosity_level=1)
        if seconds:
            threading.Timer(seconds, agent.interrupt).start()
        try:
            print(prompt, "->", agent.run(prompt, max_steps=10))
        except Exception as error:  # an interrupted agent says so by an error
            if not seconds:
                raise
            print(prompt, "->", "CUT", error)
