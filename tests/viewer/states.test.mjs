// Every state, in light and dark, in a narrow chat column and on a wide page.
import { test } from "node:test";
import assert from "node:assert/strict";
import { answer, dryRun, STATES } from "./answers.mjs";
import { given, open } from "./stage.mjs";

const answers = (facts) => (method, { name, arguments: args } = {}) => {
  if (method === "resources/read") throw new Error("Resource not found");
  if (args?.dryRun) return answer(dryRun);
  return name === "check_status" ? answer(facts) : {};  // what runs goes on running
};

for (const [name, state] of Object.entries(STATES)) {
  test(`${name} fits, is accessible and loads only what it may`, async () => {
    const { input, facts, more = [], press = [], can, cancelled, details, sees } = state;
    const result = facts && answer(facts, ...more);
    const stage = await open({ input, result, answer: answers(facts), ...(can && { can }) });
    if (cancelled) await stage.send("sendToolCancelled", { reason: "user action" });
    for (const label of press) await stage.view.getByRole("button", { name: label }).click();
    if (details) await stage.text("Details").click();
    if (sees) await stage.text(sees).waitFor();
    for (const width of [320, 1200]) {
      for (const theme of ["light", "dark"]) {
        await stage.page.setViewportSize({ width, height: 800 });
        await stage.context({ theme, containerDimensions: { width, maxHeight: 4000 } });
        await stage.frame.waitForFunction(
          ([scheme, wide]) => getComputedStyle(document.documentElement).colorScheme === scheme
            && window.innerWidth === wide,
          [theme, width],
        );
        await stage.loaded();
        await stage.layout();
        await stage.accessible();
        if (given.shots) {
          const path = `${given.shots}/${name} ${width} ${theme}.png`.replaceAll(" ", "-");
          await stage.page.locator("iframe").screenshot({ path });
        }
      }
    }
    assert.equal(await stage.view.getByRole("heading", { level: 1 }).count(), 1);
    await stage.clean();
  });
}
