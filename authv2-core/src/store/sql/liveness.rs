//! Which sessions are live: the one form of that question, for every statement that asks it.

/// Neither ended by itself nor with its generation.
macro_rules! not_ended {
    () => {
        "sessions.revoked_at IS NULL
        AND sessions.generation >= (SELECT floor FROM session_generation)
        AND NOT EXISTS (SELECT 1 FROM session_floors
            WHERE session_floors.org_id = sessions.org_id AND session_floors.floor > sessions.generation)"
    };
}

/// Whether a row of `sessions` is live at the moment that the parameter `$now` holds.
macro_rules! live {
    ($now:literal) => {
        concat!(
            $crate::store::sql::liveness::not_ended!(),
            " AND sessions.expires_at > ",
            $now,
            " AND sessions.idle_expires_at > ",
            $now
        )
    };
}

/// The columns of a session record. Here the question has its other form: since when a session is ended.
macro_rules! session_columns {
    () => {
        "sessions.session_id, sessions.user_id, sessions.transport, sessions.cookie_hash, sessions.opened_at, sessions.auth_time,
        sessions.last_seen_at, sessions.expires_at, sessions.idle_expires_at, sessions.ip, sessions.user_agent,
        sessions.amr, sessions.acr, sessions.org_id, sessions.store_id, sessions.risk, sessions.generation,
        sessions.device, sessions.network_changed, sessions.device_changed, sessions.key_thumbprint,
        COALESCE(
            sessions.revoked_at,
            (SELECT raised_at FROM session_generation WHERE floor > sessions.generation),
            (SELECT raised_at FROM session_floors
                WHERE session_floors.org_id = sessions.org_id AND session_floors.floor > sessions.generation)
        ) AS revoked_at"
    };
}

pub(super) use {live, not_ended, session_columns};
