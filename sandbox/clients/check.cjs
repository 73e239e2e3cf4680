// Google's Node client against the stand-in.
//
// Usage: check.cjs ROOT TOKEN CALENDAR_ID. Exits with 1 and says what differed at the first deviation.

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const http = require("node:http");
const { auth, calendar: connect } = require("@googleapis/calendar");

const PUSH_TIMEOUT_MS = 5_000;
const SILENCE_MS = 1_000;

/** A receiver of notifications on a free port. */
async function receiver() {
  const received = [];
  let wake = () => {};
  const server = http.createServer((request, response) => {
    let length = 0;
    request.on("data", (chunk) => (length += chunk.length));
    request.on("end", () => {
      received.push({ headers: request.headers, length });
      response.writeHead(204).end();
      wake();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

  async function arrival(within) {
    if (received.length === 0) {
      let timer;
      await new Promise((done) => {
        wake = done;
        timer = setTimeout(done, within);
      });
      clearTimeout(timer);
    }
    return received.shift();
  }
  return {
    address: `http://127.0.0.1:${server.address().port}/push`,
    async next(state) {
      const push = await arrival(PUSH_TIMEOUT_MS);
      assert.ok(push, `no push with state ${state} within ${PUSH_TIMEOUT_MS} ms`);
      assert.equal(push.headers["x-goog-resource-state"], state, "state of the push");
      assert.equal(push.length, 0, "body of the push");
      return push.headers;
    },
    async silence() {
      assert.equal(await arrival(SILENCE_MS), undefined, "a push after the channel was stopped");
    },
    close: () => server.close(),
  };
}

async function refused(call, status, reason, what) {
  const error = await call.then(
    () => null,
    (error) => error,
  );
  assert.ok(error, `${what}: expected ${status} ${reason}, but it was accepted`);
  assert.equal(error.response?.status, status, what);
  assert.equal(error.response.data.error.errors[0].reason, reason, what);
}

async function main([root, token, calendarId]) {
  const client = new auth.OAuth2();
  client.setCredentials({ access_token: token, expiry_date: Date.now() + 3_600_000 });
  const google = connect({ version: "v3", auth: client, rootUrl: root, retry: false });
  const pushes = await receiver();

  const calendars = (await google.calendarList.list()).data.items;
  assert.ok(
    calendars.some((entry) => entry.id === calendarId),
    "the calendar is in the user's list",
  );
  const timeZone = (await google.calendarList.get({ calendarId })).data.timeZone;

  async function all(query) {
    const items = [];
    let pageToken;
    for (;;) {
      const { data } = await google.events.list({ calendarId, maxResults: 50, pageToken, ...query });
      items.push(...data.items);
      pageToken = data.nextPageToken;
      if (!pageToken) {
        assert.ok(data.nextSyncToken, "the last page has a sync token");
        return [items, data.nextSyncToken];
      }
    }
  }

  let [before, syncToken] = await all();

  const channel = { id: crypto.randomUUID(), type: "web_hook", address: pushes.address, token: "a secret" };
  const watched = (await google.events.watch({ calendarId, requestBody: channel })).data;
  assert.equal(watched.id, channel.id, "id of the channel");
  assert.match(watched.expiration, /^\d+$/, "expiration of the channel is text");
  const greeting = await pushes.next("sync");
  assert.equal(greeting["x-goog-message-number"], "1", "number of the first push");
  assert.equal(greeting["x-goog-channel-token"], "a secret", "token of the push");
  assert.equal(greeting["x-goog-resource-id"], watched.resourceId, "resource of the push");

  const eventId = `node${crypto.randomBytes(8).toString("hex")}`;
  const requestBody = {
    id: eventId,
    summary: "Haircut - Ben",
    start: { dateTime: "2027-01-13T10:00:00", timeZone },
    end: { dateTime: "2027-01-13T10:45:00", timeZone },
    extendedProperties: { private: { booking: "1" } },
  };
  const inserted = (await google.events.insert({ calendarId, requestBody })).data;
  assert.equal(inserted.summary, requestBody.summary, "summary of the new event");
  assert.equal(inserted.start.dateTime.slice(0, 19), requestBody.start.dateTime, "start of the new event");
  await pushes.next("exists");
  await refused(google.events.insert({ calendarId, requestBody }), 409, "duplicate", "the same id again");

  const patch = (etag, change) =>
    google.events.patch({ calendarId, eventId, requestBody: change }, { headers: { "If-Match": etag } });
  const change = { summary: "Color - Ben", extendedProperties: { private: { booking: null } } };
  const patched = (await patch(inserted.etag, change)).data;
  assert.equal(patched.summary, "Color - Ben", "patched summary");
  assert.deepEqual(patched.extendedProperties?.private ?? {}, {}, "patched properties");
  assert.notEqual(patched.etag, inserted.etag, "the etag changes");
  await pushes.next("exists");
  await refused(patch(inserted.etag, { summary: "late" }), 412, "conditionNotMet", "a patch with an old etag");
  assert.equal(
    (await google.events.get({ calendarId, eventId })).data.summary,
    "Color - Ben",
    "summary after the refusal",
  );

  let changed;
  [changed, syncToken] = await all({ syncToken });
  assert.deepEqual(
    changed.map(({ id, status }) => [id, status]),
    [[eventId, "confirmed"]],
    "changes since the first list",
  );

  assert.equal((await google.events.delete({ calendarId, eventId })).status, 204, "answer to the deletion");
  await pushes.next("exists");
  await refused(google.events.delete({ calendarId, eventId }), 410, "deleted", "a second deletion");
  await refused(google.events.delete({ calendarId, eventId: "nothere" }), 404, "notFound", "deletion of nothing");
  [changed, syncToken] = await all({ syncToken });
  assert.deepEqual(
    changed.map(({ id, status }) => [id, status]),
    [[eventId, "cancelled"]],
    "changes since the patch",
  );
  await refused(google.events.list({ calendarId, syncToken: "nonsense" }), 400, "invalid", "a made-up sync token");
  const ids = (items) => items.map(({ id }) => id).sort();
  assert.deepEqual(ids((await all())[0]), ids(before), "events at the end");

  await google.channels.stop({ requestBody: { id: channel.id, resourceId: watched.resourceId } });
  const { id, ...without } = requestBody;
  const again = (await google.events.insert({ calendarId, requestBody: without })).data;
  await google.events.delete({ calendarId, eventId: again.id });
  await pushes.silence();
  pushes.close();
  console.log("@googleapis/calendar: list, insert, patch with If-Match, delete, watch and stop behave as with Google");
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exit(1);
});
