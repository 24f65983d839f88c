// Vercel AI SDK. Its paths of modules are those of the folder that it is installed in.
import { createMCPClient } from "@ai-sdk/mcp";
import { Experimental_StdioMCPTransport as Stdio } from "@ai-sdk/mcp/mcp-stdio";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs } from "ai";

const [command, ...args] = JSON.parse(process.env.SERVER);
const openai = createOpenAI({ baseURL: `${process.env.MODEL}/v1`, apiKey: "x" });
const model = process.env.API === "responses" ? openai.responses("gpt-5") : openai.chat("gpt-5");
const client = await createMCPClient({ transport: new Stdio({ command, args }) });
const tools = await client.tools();
for (const [prompt, seconds] of JSON.parse(process.env.PROMPTS)) {
  const abortSignal = AbortSignal.timeout((seconds || 170) * 1000);
  try {
    const told = await generateText({ model, tools, prompt, abortSignal, stopWhen: stepCountIs(20) });
    console.log(prompt, "->", told.text);
  } catch (error) {
    if (!seconds || !abortSignal.aborted) throw error;
    console.log(prompt, "->", "CUT");
  }
}
await client.close();
