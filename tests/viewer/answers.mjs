// What the tools answer, in the shape of the contract.
import { given } from "./stage.mjs";

const REQUEST = "6f1c0a52-7a0e-4d56-8f0d-0d7f2a1f0c11";

export const PROMPT = "A lighthouse in fog, seen from a small boat at dawn; long exposure, muted"
  + " colours, a gull on the rail, film grain, and Donaudampfschifffahrtsgesellschaftskapitänsmütze"
  + " in the foreground, very large, so that nobody can overlook it when the picture is shown.";
export const IMAGE_CALL = {
  prompt: PROMPT, modelId: "nanobanana-2", aspectRatio: "16:9", resolution: "2K", wait: 25,
};
export const VIDEO_CALL = {
  prompt: "The boat sails on", modelId: "seedance-2-0", duration: 5, resolution: "720p", wait: null,
};
export const url = (name) => `${given.media}/${name}`;

export const answer = (facts, ...more) => ({
  content: [{ type: "text", text: `${facts.status}: …` }, ...more],
  structuredContent: facts,
  isError: ["refused", "failed"].includes(facts.status),
});
export const PREVIEW = { type: "image", mimeType: "image/webp", data: given.preview };

const common = {
  generationId: "gen_7Q", requestId: REQUEST, mediaType: "image", modelId: "nanobanana-2",
  prompt: PROMPT, resourceUri: "meigen://generations/gen_7Q", aspectRatio: "16:9",
  settings: { aspectRatio: "16:9", resolution: "2K" },
  quote: { credits: 12, kind: "exact", basis: "12 for one image at 2K" },
  createdAt: "2026-11-23T09:30:00Z",
};
const video = {
  ...common, mediaType: "video", modelId: "seedance-2-0", prompt: "The boat sails on",
  settings: { duration: 5, resolution: "720p" },
  quote: { credits: 100, kind: "estimate", basis: "5 s of 20 credits" },
};

export const processing = {
  ...common, status: "processing", elapsedSeconds: 12, expectedSeconds: 40,
};
export const completed = {
  ...common, status: "completed", mediaUrls: [url("0.png")], creditsUsed: 12,
  credits: { daily: 20, purchased: 1480 }, elapsedSeconds: 38.2, expectedSeconds: 40,
  files: ["/home/ann/Pictures/MeiGen/2026-11-23 nanobanana-2 a lighthouse in fog 1.png"],
  madeFrom: ["meigen://generations/gen_6P/media/0"],
};
export const four = {
  ...completed, mediaUrls: ["0.png", "1.png", "2.png", "3.png"].map(url), modelId: "midjourney-v7",
};
export const film = {
  ...video, status: "completed", mediaUrls: [url("clip.mp4")], creditsUsed: 100, elapsedSeconds: 90,
};
export const lostFilm = { ...film, mediaUrls: [url("gone.mp4")] };
export const lost = { ...completed, mediaUrls: [url("gone.png")] };
export const failed = {
  ...common, status: "failed", elapsedSeconds: 20,
  error: {
    code: "content_policy", message: "MeiGen's content filter refused the prompt.",
    charged: "refunded", retryable: false,
  },
  next: "Tell the person that the content filter refused it and propose another wording.",
};
export const needsApproval = {
  status: "needs_approval", requestId: REQUEST, mediaType: "video", modelId: "seedance-2-0",
  prompt: "The boat sails on", settings: video.settings, credits: { purchased: 1480 },
  quote: { credits: 250, kind: "exact", basis: "5 s of 50 credits" }, next: "Ask the person.",
};
export const unknownPrice = {
  ...needsApproval, quote: { kind: "unknown", basis: "no source gives a price for new-model" },
};
export const dryRun = {
  status: "dry_run", requestId: REQUEST, mediaType: "image", modelId: "nanobanana-2", prompt: PROMPT,
  aspectRatio: "16:9", settings: common.settings, quote: common.quote,
  credits: { daily: 20, purchased: 1480 }, next: "Call again without dryRun to make it.",
};
export const refused = {
  status: "refused", mediaType: "image", prompt: PROMPT,
  error: {
    code: "invalid_arguments", charged: "no", retryable: true,
    message: "2 problems; nothing was sent or charged:\n- aspectRatio: \"5:4\" is not one of 1:1,"
      + " 16:9 and 9:16\n- quality: nanobanana-2 takes none",
  },
  next: "Correct everything that the message names and call again.",
};
export const notFound = {
  status: "refused",
  error: {
    code: "not_found", charged: "unknown", retryable: false,
    message: "This account has no such generation in its ledger. Nothing was sent.",
  },
  next: "Call check_status without arguments to see the newest ones.",
};
export const onHold = {
  ...common, generationId: undefined, status: "queued", elapsedSeconds: 3,
  error: {
    code: "insufficient_credits", message: "12 credits are needed, 3 are left.",
    charged: "no", retryable: true,
  },
  next: "Tell the person to buy credits; then repeat the call with this requestId.",
};
export const unknown = {
  ...common, generationId: undefined, status: "unknown", elapsedSeconds: 900,
  error: {
    code: "no_answer", message: "MeiGen gave no answer that says whether it took this generation.",
    charged: "unknown", retryable: false,
  },
  next: "Do not start it again; look later.",
};
const row = ({ prompt, files, settings, quote, ...facts }) => ({ ...facts, prompt: prompt.slice(0, 119) });
export const history = {
  generations: [
    row({ ...video, status: "processing", generationId: "gen_8R" }), row(completed), row(film),
    row({ ...failed, generationId: "gen_5N" }),
  ],
  spentToday: 112, spentMonth: 1540.5,
};

/** Every state: what the host sends, and what to do before it is looked at. */
export const STATES = {
  starting: { input: IMAGE_CALL },
  queued: { input: IMAGE_CALL, facts: { ...processing, status: "queued", elapsedSeconds: 2 } },
  "on hold": { input: IMAGE_CALL, facts: onHold },
  submitting: {
    input: IMAGE_CALL,
    facts: { ...processing, generationId: undefined, status: "submitting", elapsedSeconds: 1 },
  },
  processing: { input: IMAGE_CALL, facts: processing },
  "longer than usual": { input: IMAGE_CALL, facts: { ...processing, elapsedSeconds: 75 } },
  image: { input: IMAGE_CALL, facts: completed, more: [PREVIEW] },
  details: { input: IMAGE_CALL, facts: completed, details: true },
  "four images": { input: IMAGE_CALL, facts: four, more: [PREVIEW] },
  "one of four": { input: IMAGE_CALL, facts: four, press: [/2 of 4/] },
  video: { input: VIDEO_CALL, facts: film, more: [PREVIEW] },
  "preview only": { input: IMAGE_CALL, facts: lost, more: [PREVIEW], sees: "This is a small preview" },
  "frames only": { input: VIDEO_CALL, facts: lostFilm, more: [PREVIEW], sees: "These are frames" },
  "link only": { input: IMAGE_CALL, facts: lost, sees: "Its link:" },
  failed: { input: IMAGE_CALL, facts: failed },
  unknown: { input: IMAGE_CALL, facts: unknown },
  refused: { input: IMAGE_CALL, facts: refused },
  "needs approval": { input: VIDEO_CALL, facts: needsApproval },
  "unknown price": { input: VIDEO_CALL, facts: unknownPrice },
  "dry run": { input: { ...IMAGE_CALL, dryRun: true }, facts: dryRun },
  vary: { input: IMAGE_CALL, facts: completed, press: ["Vary"], sees: "Make another one" },
  continue: { input: VIDEO_CALL, facts: film, press: ["Continue this video"], sees: "What happens next" },
  history: { input: {}, facts: history },
  "no history": { input: {}, facts: { generations: [], spentToday: 0, spentMonth: 0 } },
  cancelled: { input: IMAGE_CALL, cancelled: true },
  "a host without tools": { input: IMAGE_CALL, facts: processing, can: {} },
};
