"use strict";
{
  // The only place where tokens are kept: no storage that another script or a later visitor could read.
  let tokens = null;
  // A session by cookie: the token that proves that a request is this page's own.
  let csrf = null;
  // A sign-in that waits for its second factor, the token of a mail's link, and a call that waits for a step-up.
  let waiting = null;
  let mailed = null;
  let interrupted = null;
  let refreshing = null;

  const element = (id) => document.getElementById(id);
  const when = (text) => text ? new Date(text).toLocaleString() : "–";

  /** An answer of the server that is no success: RFC 9457 problem details, put into words. */
  class Problem extends Error {
    constructor(status, body, headers) {
      super(body.detail || body.title || `The server answered with status ${status}.`);
      this.body = body;
      this.challenge = headers?.get("WWW-Authenticate") ?? "";
      this.status = status;
      this.title = body.title;
      this.code = body.code;
      this.fields = Array.isArray(body.errors) ? body.errors : [];
      this.retryAfter = headers?.get("Retry-After");
    }
  }

  async function send(method, path, body, token) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (token) headers.Authorization = `Bearer ${token}`;
    if (csrf) headers["X-CSRF-Token"] = csrf;
    const byCookie = csrf !== null || body?.transport === "cookie" || waiting?.transport === "cookie";
    const options = { method, headers, credentials: byCookie ? "same-origin" : "omit", cache: "no-store" };
    if (body !== undefined) options.body = JSON.stringify(body);
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Problem(0, { title: "No connection", detail: "The server could not be reached." });
    }
    const text = await response.text();
    let answer = {};
    try { answer = text ? JSON.parse(text) : {}; } catch { answer = { detail: text.slice(0, 200) }; }
    if (!response.ok) throw new Problem(response.status, answer, response.headers);
    return answer;
  }

  /** A call in the signed-in person's name; an expired access token is renewed once on the way. */
  async function call(method, path, body) {
    const used = tokens?.access_token;
    try {
      return await send(method, path, body, used);
    } catch (problem) {
      // A fresher or stronger sign-in is not had by a new token, nor is a code.
      if (problem.status !== 401 || !["invalid_token", "unauthenticated"].includes(problem.code) || !tokens) throw problem;
      if (tokens.access_token === used) await refresh();
      return send(method, path, body, tokens.access_token);
    }
  }

  /** Trades the refresh token. Calls that come together share one trade: a token is good for one use. */
  function refresh() {
    refreshing ??= send("POST", "/auth/refresh", { refresh_token: tokens.refresh_token })
      .then(keep, (problem) => { if (problem.status === 401) signOut(); throw problem; })
      .finally(() => { refreshing = null; });
    return refreshing;
  }

  /** Keeps what a sign-in or a renewal gave: tokens, or by cookie nothing but the proof of a page's own requests. */
  function keep(answer) {
    if (answer.csrf_token) csrf = answer.csrf_token;
    else tokens = { ...tokens, ...answer };
    element("token").hidden = tokens === null;
    if (tokens) showToken();
  }
