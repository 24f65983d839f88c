// mcp-use in JavaScript.
import { ChatOpenAI } from "@langchain/openai";
import { MCPAgent, MCPClient } from "mcp-use";

const [command, ...args] = JSON.parse(process.env.SERVER);
const client = new MCPClient({ mcpServers: { meigen: { command, args } } });
const llm = new ChatOpenAI({ model: "gpt-5", apiKey: "x", configuration: { baseURL: `${process.env.MODEL}/v1` } });
for (const [prompt, seconds] of JSON.parse(process.env.PROMPTS)) {
  const agent = new MCPAgent({ llm, client, maxSteps: 20, memoryEnabled: false });
  const signal = AbortSignal.timeout((seconds || 170) * 1000);
  try {
    console.log(prompt, "->", await agent.run({ prompt, signal }));
  } catch (error) {
    if (!seconds || !signal.aborted) throw error;
    console.log(prompt, "->", "CUT");
  }
}
await client.closeAllSessions();
