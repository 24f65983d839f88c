"""The MeiGen sandbox: an emulator of the MeiGen REST API that needs no account and no money.

It speaks the documented wire: tokens, credits, idempotency keys, rate limits, jobs that take their
time, refunds and errors, for eleven models, in the API's two known generations. It does NOT
reproduce real pictures and clips (it draws a card with the prompt, and a moving ball), moderation,
real prices, ratios, limits and timings where no source gives them (`invented.toml` lists them all),
draft renders, `in_progress` leases, deleted records, outages, the wording of real errors, the
gallery, search and Skills. References are never fetched. All state is gone when it stops.

Any token of the form `meigen_sk_` and 32 characters out of A-Z a-z 0-9 _ - is an account of its own
with the same balance. One that begins with `meigen_sk_revoked` is refused (401), one that begins
with `meigen_sk_forbidden` as well (403).

Words in a prompt choose what happens:

    sandbox:fail         accepted and charged, fails after its time, the credits come back
    sandbox:refuse       refused by moderation (400), not charged
    sandbox:stall        accepted and charged, never finishes
    sandbox:lose-reply   accepted and charged, but the connection closes without a reply; repeated
                         with the same idempotencyKey it is answered
    sandbox:no-credits   refused as if the balance were 0 (402)

`GET /sandbox/state` shows the accounts, every submission and what it was charged.
"""
