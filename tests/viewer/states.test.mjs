// Every state, in light and dark, in a narrow chat column and on a wide page.
import { test } from "node:test";
import assert from "node:assert/strict";
import { answer, dryRun, notFound, STATES } from "./answers.mjs";
import { given, open } from "./stage.mjs";

const answers = (facts) => (method, { name, arguments: args } = {}) => {
  if (method === "resources/read") throw new Error("Resource not found");
  if (args?.dryRun) return answer(dryRun);
  if (["dry_run", "needs_approval"].includes(facts?.status)) return answer(notFound);
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

// A host's colours, readable together; its theme is the other way about, as if it followed none.
const COLOURS = {
  light: {
    "--color-background-primary": "#fdf6e3", "--color-text-primary": "#20281f",
    "--color-background-secondary": "#eee8d5", "--color-text-secondary": "#465046",
    "--color-text-danger": "#8f1111", "--color-border-primary": "#808a80",
    "--color-ring-primary": "#1a4fbf", "--color-background-inverse": "#20281f",
    "--color-text-inverse": "#fdf6e3",
  },
  dark: {
    "--color-background-primary": "#10151d", "--color-text-primary": "#eef2f6",
    "--color-background-secondary": "#1d2531", "--color-text-secondary": "#b8c2cc",
    "--color-text-danger": "#ffb3a8", "--color-border-primary": "#707a86",
    "--color-ring-primary": "#9db8ff", "--color-background-inverse": "#eef2f6",
    "--color-text-inverse": "#10151d",
  },
};

for (const [theme, colours] of Object.entries(COLOURS)) {
  test(`text can be read in a ${theme} host whichever of its colours it leaves out`, async () => {
    const failing = { ...STATES.failed.facts, status: "needs_approval", requestId: "1" };
    const names = Object.keys(colours);
    const sets = [
      colours, ...names.map((name) => ({ [name]: colours[name] })),
      ...names.map((name) => ({ ...colours, [name]: undefined })),
    ];
    for (const variables of sets) {
      const stage = await open({
        input: {}, result: answer(failing), answer: answers(failing),
        told: { theme, styles: { variables: JSON.parse(JSON.stringify(variables)) } },
      });
      await stage.text("This needs your approval").waitFor();
      await stage.accessible();
      await stage.clean();
    }
  });
}
