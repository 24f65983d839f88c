"""The MeiGen sandbox: an emulator of the MeiGen REST API that needs no account and no money.

It speaks the documented wire: tokens, credits, idempotency keys, rate limits, jobs that take their
time, refunds and errors, for eleven models, in three generations of the API: of May, of September,
and of November, with four models more and what MeiGen takes since (all of it marked as invented but
that there is such a thing). It does NOT reproduce real pictures and clips (it draws a card with the
prompt, and a moving ball), moderation, real prices, ratios, limits and timings where no source
gives them (`invented.toml` and `november.toml` list them all), `in_progress` leases, deleted
records, outages, the wording of real errors, the gallery, search and Skills. References are never
fetched. All state is gone when it stops, unless it has a name (`meigen-mcp serve --sandbox NAME`).

Any token of the form `meigen_sk_` and 32 characters out of A-Z a-z 0-9 _ - is an account of its own
with the same balance. One that begins with `meigen_sk_revoked` is refused (401), one that begins
with `meigen_sk_forbidden` as well (403).

Words in a prompt choose what happens:

    sandbox:fail         accepted and charged, fails after its time, the credits come back
    sandbox:refuse       refused by moderation (400), not charged
    sandbox:stall        accepted and charged, never finishes
    sandbox:lose-reply   accepted and charged, but the connection closes without a reply; repeated
                         with the same idempotencyKey it is answered
    sandbox:frame-rate   (2026-11, with a clip) fails after its time for the clip's frame rate
    edit                 (2026-11, a model that edits) demands adaptive; fails after its time if the
                         duration is not that of the clip
    sandbox:fail-final   (2026-11) a draft is made; its final fails, and can be tried again
    sandbox:no-final     (2026-11) a draft is made, and nothing is said of its final
    sandbox:dear-draft   (2026-11) a draft is charged like a clip without draft
    sandbox:no-credits   refused as if the balance were 0 (402)

`GET /sandbox/state` shows the accounts, every submission and what it was charged.
"""
