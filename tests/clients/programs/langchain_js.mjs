// LangChain in JavaScript, with three model APIs.
import { ChatAnthropic } from "@langchain/anthropic";
import { MultiServerMCPClient } from "@langchain/mcp-adapters";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent } from "langchain";

const [command, ...args] = JSON.parse(process.env.SERVER);
const { API, MODEL } = process.env;
const useResponsesApi = API === "responses";
const model =
  API === "anthropic"
    ? new ChatAnthropic({ model: "claude-sonnet-4-5", apiKey: "x", anthropicApiUrl: MODEL })
    : new ChatOpenAI({ model: "gpt-5", apiKey: "x", useResponsesApi, configuration: { baseURL: `${MODEL}/v1` } });
const client = new MultiServerMCPClient({ meigen: { transport: "stdio", command, args } });
const agent = createAgent({ model, tools: await client.getTools() });
for (const [prompt, seconds] of JSON.parse(process.env.PROMPTS)) {
  const signal = AbortSignal.timeout((seconds || 170) * 1000);
  try {
    const told = await agent.invoke({ messages: [{ role: "user", content: prompt }] }, { recursionLimit: 60, signal });
    const messages = [...told.messages, { role: "user", content: "and now?" }];
    const more = await agent.invoke({ messages }, { signal });
    console.log(prompt, "->", more.messages.at(-1).content);
  } catch (error) {
    if (!seconds || !signal.aborted) throw error;
    console.log(prompt, "->", "CUT");
  }
}
await client.close();
