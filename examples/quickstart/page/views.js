
  function decode(part) {
    const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (byte) => byte.charCodeAt(0))));
  }

  function showToken() {
    const [header, claims] = tokens.access_token.split(".").slice(0, 2).map(decode);
    element("token-header").textContent = JSON.stringify(header, null, 2);
    element("token-claims").textContent = JSON.stringify(claims, null, 2);
    element("token-expiry").textContent = `It expires ${when(claims.exp * 1000)}.`;
  }

  function showProfile({ user, organization, roles, auth }) {
    const rows = [
      ["E-mail", "email", user.email + (user.email_verified ? "" : " (not verified)")],
      ["Name", "name", user.display_name || "–"],
      ["Status", "status", user.status],
      ["Id", "id", user.id],
      ["Registered", "created", when(user.created_at)],
      ["Signed in by", "method", [auth?.method, ...(auth?.amr ?? [])].filter(Boolean).join(", ") || "–"],
      ["Organization", "organization", organization?.name ?? "–"],
      ["Roles", "roles", (roles ?? []).map(({ role }) => role).join(", ") || "–"],
    ];
    element("verify-button").hidden = user.email_verified;
    showFactor(user.mfa_enabled);
    element("profile").replaceChildren(...rows.flatMap(([label, name, value]) => {
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = label;
      description.textContent = value;
      description.dataset.testid = `profile-${name}`;
      return [term, description];
    }));
  }

  function deviceOf({ device, user_agent }) {
    const known = [device?.browser, device?.os].filter(Boolean).join(" on ");
    return known || user_agent || "Unknown device";
  }

  /** A row of a list, with a heading and what is known. */
  function row(title, detail, testid) {
    const item = document.createElement("li");
    item.dataset.testid = testid;
    const [words, heading, line] = ["div", "strong", "p"].map((name) => document.createElement(name));
    heading.textContent = title;
    line.className = "quiet";
    line.textContent = detail;
    words.append(heading, line);
    item.append(words);
    return item;
  }

  function sessionItem(session) {
    const detail = `${session.ip || "unknown address"} · since ${when(session.created_at)}`;
    const item = row(deviceOf(session), detail, "session");
    item.dataset.sessionId = session.id;
    item.dataset.current = String(session.current);
    if (session.current) {
      item.append(badge("this session", "session-current"));
    } else {
      const label = `Log out the session on ${deviceOf(session)}, since ${when(session.created_at)}`;
      item.append(button("Log out", "session-logout", label, async () => {
        await call("DELETE", `/auth/sessions/${encodeURIComponent(session.id)}`);
        await showSessions();
        tell("That session is logged out.");
        element("sessions-reload").focus();
      }));
    }
    return item;
  }

  function badge(words, testid) {
    const span = document.createElement("span");
    span.className = "badge";
    span.dataset.testid = testid;
    span.textContent = words;
    return span;
  }

  function button(words, testid, label, work) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "plain";
    made.dataset.testid = testid;
    made.textContent = words;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", () => act(made, work));
    return made;
  }

  function deviceItem(device) {
    const item = row(device.name, `${device.ip || "unknown address"} · last sign-in ${when(device.last_login_at)}`, "device");
    if (device.current) item.append(badge("this browser", "device-current"));
    item.append(button("Forget", "device-forget", `Forget ${device.name}, last used ${when(device.last_login_at)}`, async () => {
      await call("DELETE", `/auth/devices/${encodeURIComponent(device.id)}`);
      if (device.current && csrf) return leave("This browser is forgotten, and its sessions are over.");
      await Promise.all([showDevices(), showSessions()]);
      tell("That browser is forgotten, and its sessions are over.");
    }));
    return item;
  }

  async function showDevices() {
    const { devices } = await call("GET", "/auth/devices");
    element("devices").replaceChildren(...devices.map(deviceItem));
  }

  /** What can be done about the second factor: enrol one, or replace its codes and remove it. */
  function showFactor(enabled) {
    element("enrol-form").hidden = enabled;
    element("factor-form").hidden = !enabled;
    element("confirm-form").hidden = true;
  }

  function showCodes(codes) {
    element("codes").hidden = codes.length === 0;
    element("recovery-codes").replaceChildren(...codes.map((code) => {
      const item = document.createElement("li");
      item.textContent = code;
      return item;
    }));
  }

  function mailItem({ to, subject, text }) {
    const item = row(subject, `to ${to}`, "mail");
    const words = document.createElement("pre");
    words.className = "mail";
    words.tabIndex = 0;
    words.textContent = text;
    item.append(words);
    const link = /#([a-z_]+=[\w-]+)/.exec(text);
    if (link) item.append(button("Open the link", "mail-link", `Open the link in ${subject}`, () => { location.hash = link[1]; }));
    return item;
  }

  async function showMails() {
    const { mails } = await send("GET", "/inbox");
    element("mails").replaceChildren(...mails.map(mailItem));
  }

  async function showSessions() {
    const { sessions } = await call("GET", "/auth/sessions");
    element("sessions").replaceChildren(...sessions.map(sessionItem));
  }

  function view(signedIn) {
    element("signed-in").hidden = !signedIn;
    element("signed-out").hidden = signedIn;
  }

  function tell(words) {
    const notice = element("notice");
    notice.hidden = !words;
    notice.textContent = words;
  }

  /** Says what went wrong, and marks the fields of `form` that the server named. */
  function complain(problem, form) {
    const box = element("error");
    const known = problem instanceof Problem;
    const lines = [];
    const title = document.createElement("strong");
    title.textContent = known ? problem.title || "That did not work" : "This page has a defect";
    lines.push(title);
    const sentences = [problem.message === title.textContent ? "" : problem.message];
    if (problem.retryAfter) sentences.push(`Try again in ${problem.retryAfter} seconds.`);
    const detail = document.createElement("p");
    detail.textContent = sentences.filter(Boolean).join(" ");
    if (detail.textContent) lines.push(detail);
    if (known && problem.fields.length) {
      const list = document.createElement("ul");
      for (const { field, code, message } of problem.fields) {
        const entry = document.createElement("li");
        entry.textContent = `${field}: ${message || code}`;
        list.append(entry);
        const input = form && [...form.elements].find((candidate) => candidate.dataset.field === field);
        input?.setAttribute("aria-invalid", "true");
      }
      lines.push(list);
    }
    box.dataset.code = known ? problem.code ?? "" : "";
    box.replaceChildren(...lines);
    box.hidden = false;
  }

  /** Runs what a button or form stands for: once at a time, with its failure shown. */
  async function act(button, work, form) {
    button.disabled = true;
    tell("");
    element("error").hidden = true;
    for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    try {
      await work();
    } catch (problem) {
      complain(problem, form);
    } finally {
      button.disabled = false;
    }
  }

  function onSubmit(id, work) {
    const form = element(id);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(form.querySelector("button"), work, form);
    });
  }

  function onClick(id, work) {
    element(id).addEventListener("click", (event) => act(event.currentTarget, work));
  }
