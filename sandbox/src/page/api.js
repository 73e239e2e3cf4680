// Calendar v3, called as the owner would call it.

const PAGE_SIZE = 2500;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  constructor(token, calendar) {
    this.token = token;
    this.path = `/calendar/v3/calendars/${encodeURIComponent(calendar)}/events`;
  }

  async call(method, path, { query, body, etag } = {}) {
    const url = new URL(path, location.origin);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    const headers = { authorization: `Bearer ${this.token}` };
    if (body) headers["content-type"] = "application/json";
    if (etag) headers["if-match"] = etag;
    const response = await fetch(url, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    const answer = await response.text();
    if (!response.ok) {
      let message = `${response.status} ${response.statusText}`;
      try {
        message = JSON.parse(answer).error.message;
      } catch {
        // Not Google's envelope: the status line has to do.
      }
      throw new Refused(response.status, message);
    }
    return answer ? JSON.parse(answer) : undefined;
  }

  /** Every instance that meets the time from `timeMin` to `timeMax`. */
  async between(timeMin, timeMax) {
    const items = [];
    let pageToken;
    do {
      const query = { singleEvents: true, maxResults: PAGE_SIZE, timeMin, timeMax, pageToken };
      const page = await this.call("GET", this.path, { query });
      items.push(...page.items);
      pageToken = page.nextPageToken;
    } while (pageToken);
    return items.filter((event) => event.status !== "cancelled");
  }

  at(id) {
    return `${this.path}/${encodeURIComponent(id)}`;
  }

  get(id) {
    return this.call("GET", this.at(id));
  }

  insert(body) {
    return this.call("POST", this.path, { body });
  }

  patch(id, body, etag) {
    return this.call("PATCH", this.at(id), { body, etag });
  }

  remove(id, etag) {
    return this.call("DELETE", this.at(id), { etag });
  }
}
