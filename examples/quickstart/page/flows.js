
  async function signIn(answer) {
    tokens = csrf = waiting = null;
    keep(answer);
    element("mfa").hidden = true;
    for (const form of document.querySelectorAll("form")) form.reset();
    const [me] = await Promise.all([call("GET", "/auth/me"), showSessions(), showDevices()]);
    showProfile(me);
    for (const field of document.querySelectorAll("[data-account]")) field.value = me.user.email;
    view(true);
    element("profile-title").focus();
  }

  /** Begins a session: where a second factor is asked for, that comes first. */
  async function begin(path, body) {
    try {
      await signIn(await send("POST", path, body));
    } catch (problem) {
      if (problem.code !== "mfa_required") throw problem;
      waiting = { token: problem.body.mfa_token, transport: body.transport };
      element("mfa").hidden = false;
      element("mfa-code").focus();
    }
  }

  /** Shows what a call wants that the session is too old or too weak for, and makes the call again afterwards. */
  async function strongly(work) {
    try {
      await work();
    } catch (problem) {
      if (problem.code !== "step_up_required") throw problem;
      interrupted = work;
      const wantsCode = problem.challenge.includes("acr_values");
      element("step-up-by-password").hidden = wantsCode;
      element("step-up-why").textContent = wantsCode
        ? "This takes a second factor." : "This takes a proof that it is still you: the password, or a code.";
      element("step-up").hidden = false;
      element("step-up-title").focus();
    }
  }

  function leave(words) {
    signOut();
    tell(words);
  }

  function signOut() {
    tokens = csrf = interrupted = null;
    element("step-up").hidden = true;
    showCodes([]);
    const shown = ["token-header", "token-claims", "token-expiry", "profile", "sessions", "devices", "try-answer", "secret"];
    for (const id of shown) element(id).replaceChildren();
    element("qr").removeAttribute("src");
    view(false);
    element("login-email").focus();
  }

  onSubmit("register-form", async () => {
    const email = element("register-email").value;
    const name = element("register-name").value.trim();
    const body = { email, password: element("register-password").value };
    if (name) body.display_name = name;
    const { user } = await send("POST", "/auth/register", body);
    element("register-form").reset();
    element("login-email").value = email;
    element("login-password").focus();
    tell(user ? `${user.email} is registered. Log in to go on.` : "A mail is on its way. Follow its link, then log in.");
  });

  onSubmit("login-form", async () => {
    const body = { email: element("login-email").value, password: element("login-password").value, transport: "bearer" };
    if (element("login-cookie").checked) body.transport = "cookie";
    await begin("/auth/login", body);
  });

  onSubmit("mfa-form", async () => {
    const body = { mfa_token: waiting.token, code: element("mfa-code").value };
    await signIn(await send("POST", "/auth/mfa/verify", body));
  });

  onSubmit("mailed-form", () => askForMail("/auth/password/forgot"));
  onClick("link-button", () => askForMail("/auth/login/link"));

  async function askForMail(path) {
    await send("POST", path, { email: element("mailed-email").value });
    tell("If there is an account with this e-mail, a mail is on its way.");
  }

  onClick("verify-button", async () => {
    await call("POST", "/auth/email/verification");
    tell("A mail is on its way.");
  });

  onSubmit("reset-form", async () => {
    await send("POST", "/auth/password/reset", { token: mailed, new_password: element("reset-new").value });
    element("reset-form").reset();
    element("reset").hidden = true;
    mailed = null;
    element("login-email").focus();
    tell("The password is set. Log in with it.");
  });

  onSubmit("enrol-form", async () => {
    const { secret, qr_svg } = await call("POST", "/auth/mfa/totp", { password: element("enrol-password").value });
    element("enrol-form").reset();
    element("secret").textContent = secret;
    element("qr").hidden = !qr_svg;
    if (qr_svg) element("qr").src = `data:image/svg+xml;base64,${btoa(qr_svg)}`;
    element("confirm-form").hidden = false;
    element("confirm-code").focus();
  });

  onSubmit("confirm-form", async () => {
    const { recovery_codes } = await call("POST", "/auth/mfa/totp/confirm", { code: element("confirm-code").value });
    element("confirm-form").reset();
    showFactor(true);
    showCodes(recovery_codes);
    tell("From now on a sign-in takes a code. Keep the recovery codes where you will find them.");
  });

  const passwordAndCode = () => ({ password: element("factor-password").value, code: element("factor-code").value });

  onSubmit("factor-form", async () => {
    const { recovery_codes } = await call("POST", "/auth/mfa/recovery-codes", passwordAndCode());
    element("factor-form").reset();
    showCodes(recovery_codes);
    tell("The old recovery codes are worth nothing any more.");
  });

  onClick("remove-button", async () => {
    await call("POST", "/auth/mfa/totp/delete", passwordAndCode());
    element("factor-form").reset();
    showFactor(false);
    showCodes([]);
    tell("The second factor is removed.");
  });

  onSubmit("step-up-form", async () => {
    const [password, code] = [element("step-up-password").value, element("step-up-code").value];
    keep(await call("POST", "/auth/mfa/step-up", code ? { code } : { password }));
    element("step-up-form").reset();
    element("step-up").hidden = true;
    const work = interrupted;
    interrupted = null;
    if (work) await strongly(work);
  });

  onSubmit("switch-form", () => strongly(async () => {
    const answer = await call("POST", "/auth/session/switch", { organization: element("switch-organization").value });
    keep(answer);
    showProfile(await call("GET", "/auth/me"));
    tell("The session acts in that organization.");
  }));

  onSubmit("try-form", () => strongly(async () => {
    element("try-answer").textContent = "";
    const answer = await call("GET", element("try-path").value);
    element("try-answer").textContent = JSON.stringify(answer, null, 2);
  }));

  onClick("inbox-reload", showMails);

  /** Does what the link in a mail is for; its token leaves the address bar at once. */
  async function openLink() {
    const [purpose, token] = location.hash.slice(1).split("=");
    if (!token) return;
    history.replaceState(null, "", location.pathname);
    if (purpose === "verify_email") {
      await send("POST", "/auth/email/verify", { token });
      if (!element("signed-in").hidden) showProfile(await call("GET", "/auth/me"));
      tell("The e-mail is verified.");
    } else if (purpose === "reset_password") {
      mailed = token;
      view(false);
      element("reset").hidden = false;
      element("reset-new").focus();
    } else if (purpose === "sign_in") {
      await begin("/auth/login/link/redeem", { token, transport: element("login-cookie").checked ? "cookie" : "bearer" });
    }
  }

  addEventListener("hashchange", () => act(element("inbox-reload"), openLink));

  onSubmit("password-form", async () => {
    const body = { current_password: element("password-current").value, new_password: element("password-new").value };
    await call("POST", "/auth/password/change", body);
    element("password-current").value = element("password-new").value = "";
    await showSessions();
    tell("The password is changed. Every other session is logged out.");
  });

  onClick("refresh-button", async () => {
    await refresh();
    tell("A new access token is here; the old refresh token is used up.");
  });

  onClick("sessions-reload", async () => { await Promise.all([showSessions(), showDevices()]); });

  onClick("logout-button", async () => {
    await call("POST", "/auth/logout");
    leave("You are logged out.");
  });

  onClick("logout-all-button", async () => {
    const { revoked } = await call("POST", "/auth/logout-all", { except_current: false });
    leave(`You are logged out everywhere: ${revoked} ${revoked === 1 ? "session" : "sessions"} ended.`);
  });

  if (element("inbox").dataset.served === "true") {
    element("inbox").hidden = false;
    act(element("inbox-reload"), showMails);
  }
  if (location.hash) act(element("inbox-reload"), openLink);
}
