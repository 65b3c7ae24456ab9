//! Owns stores for the frameworks with one flaw at a time: the adapters, spoiled, to show that each check of a
//! framework's own contract finds what it looks for.

use std::time::Duration;

use cloakroom::conformance::{Report, Suite};
use cloakroom::{ManualClock, SessionStore};

/// A flaw, and exactly the checks of the framework's contract that it fails.
pub(crate) type Row<F> = (F, &'static [&'static str]);

/// A lifetime of the suite's sessions once more, as a load that slides would give it.
const LONGER: Duration = Duration::from_secs(10 * 3600);

fn store<T>(clock: &ManualClock) -> SessionStore<T> {
    SessionStore::builder().clock(clock.clone()).build().unwrap()
}

pub(crate) mod of_tower_sessions {
    use super::{LONGER, Report, Row, Suite, store};
    use ::tower_sessions::SessionStore;
    use ::tower_sessions::session::{Id, Record};
    use ::tower_sessions::session_store::{ExpiredDeletion, Result};
    use async_session::async_trait;
    use cloakroom::adapters::tower_sessions::{Store, session_id};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Flaw {
        None,
        LoadLosesLists,
        LoadProlongs,
        /// A record whose id is taken is stored under another, and not told.
        CreateTellsNoId,
        DeleteDoesNothing,
        DeletionOfTheExpiredEndsAll,
    }

    pub(crate) const FLAWS: [Row<Flaw>; 6] = [
        (Flaw::None, &[]),
        (Flaw::DeletionOfTheExpiredEndsAll, &[]),
        (Flaw::LoadLosesLists, &["loaded_record_is_the_created_one"]),
        (Flaw::LoadProlongs, &["load_does_not_move_the_end"]),
        (Flaw::CreateTellsNoId, &["created_record_is_told_its_id"]),
        (
            Flaw::DeleteDoesNothing,
            &[
                "cycled_session_keeps_its_data_under_a_new_id",
                "flush_and_insert_get_a_new_id",
                "request_after_a_flush_of_another_saves_nothing",
            ],
        ),
    ];

    pub(crate) fn report(suite: &Suite, flaw: Flaw) -> Report {
        suite.tower_sessions_with_deletion(|clock| Flawed { inner: store(clock).into(), flaw })
    }

    #[derive(Debug)]
    struct Flawed {
        inner: Store,
        flaw: Flaw,
    }

    #[async_trait]
    impl ExpiredDeletion for Flawed {
        async fn delete_expired(&self) -> Result<()> {
            if self.flaw == Flaw::DeletionOfTheExpiredEndsAll {
                self.inner.sessions().clear();
            }
            self.inner.delete_expired().await
        }
    }

    #[async_trait]
    impl SessionStore for Flawed {
        async fn create(&self, record: &mut Record) -> Result<()> {
            let wanted = record.id;
            let taken = self.inner.load(&wanted).await?.is_some();
            self.inner.create(record).await?;
            if taken && self.flaw == Flaw::CreateTellsNoId {
                record.id = wanted;
            }
            Ok(())
        }

        async fn save(&self, record: &Record) -> Result<()> {
            self.inner.save(record).await
        }

        async fn load(&self, id: &Id) -> Result<Option<Record>> {
            let mut loaded = self.inner.load(id).await?;
            if self.flaw == Flaw::LoadLosesLists {
                loaded.iter_mut().for_each(|record| record.data.retain(|_, it| !it.is_array()));
            }
            if self.flaw == Flaw::LoadProlongs {
                self.inner.sessions().set_expiry(&session_id(*id), LONGER);
            }
            Ok(loaded)
        }

        async fn delete(&self, id: &Id) -> Result<()> {
            if self.flaw == Flaw::DeleteDoesNothing { Ok(()) } else { self.inner.delete(id).await }
        }
    }
}

pub(crate) mod of_actix_session {
    use super::{LONGER, Report, Row, Suite, store};
    use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
    use anyhow::Error;
    use cloakroom::SessionId;
    use cloakroom::adapters::actix_session::{State, Store};
    use time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Flaw {
        None,
        LoadLosesHalf,
        /// What is empty comes back with something in it.
        LoadFillsTheEmpty,
        LoadProlongs,
        KeyIsQuoted,
        UpdateIsLost,
        /// An update answers with a key that is nobody's.
        UpdateChangesTheKey,
        /// An update of what has ended stores it anew, as that of the framework's Redis store does.
        UpdateCreates,
        LifetimeHasNoSign,
        LoadFindsAnyKey,
        /// Any key of the store's form finds a session.
        LoadFindsKeysOfItsForm,
    }

    pub(crate) const FLAWS: [Row<Flaw>; 9] = [
        (Flaw::None, &[]),
        (Flaw::LoadLosesHalf, &["loaded_state_is_the_saved_one"]),
        (Flaw::LoadFillsTheEmpty, &["loaded_state_is_the_saved_one"]),
        (Flaw::LoadProlongs, &["load_does_not_move_the_end"]),
        (Flaw::KeyIsQuoted, &["key_fits_into_a_cookie"]),
        (Flaw::UpdateIsLost, &["update_of_a_live_session_returns_its_key"]),
        (
            Flaw::UpdateChangesTheKey,
            &[
                "update_of_a_live_session_returns_its_key",
                "update_of_an_ended_session_creates_none",
            ],
        ),
        (Flaw::UpdateCreates, &["update_of_an_ended_session_creates_none"]),
        (Flaw::LifetimeHasNoSign, &["lifetime_below_zero_is_over"]),
    ];

    pub(crate) fn report(suite: &Suite, flaw: Flaw) -> Report {
        suite.actix_session(|clock| Flawed { inner: store(clock).into(), flaw })
    }

    struct Flawed {
        inner: Store,
        flaw: Flaw,
    }

    fn key(text: &str) -> SessionKey {
        SessionKey::try_from(text.to_owned()).unwrap()
    }

    impl Flawed {
        /// Returns the key that the adapter knows.
        fn unquoted(&self, key: &SessionKey) -> SessionKey {
            self::key(key.as_ref().trim_matches('"'))
        }
    }

    impl SessionStore for Flawed {
        async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
            let key = self.unquoted(key);
            if self.flaw == Flaw::LoadProlongs {
                self.inner.sessions().set_expiry(key.as_ref(), LONGER);
            }
            let mut loaded = self.inner.load(&key).await?;
            let is_found = match self.flaw {
                Flaw::LoadFindsAnyKey => true,
                Flaw::LoadFindsKeysOfItsForm => SessionId::parse(key.as_ref()).is_some(),
                _ => false,
            };
            if is_found {
                return Ok(loaded.or_else(|| Some(State::new())));
            }
            if let Some(state) = &mut loaded {
                match self.flaw {
                    Flaw::LoadLosesHalf => state.retain(|key, _| !key.ends_with('5')),
                    Flaw::LoadFillsTheEmpty if state.is_empty() => {
                        state.insert("some".to_owned(), "\"thing\"".to_owned());
                    }
                    _ => {}
                }
            }
            Ok(loaded)
        }

        async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
            let unsigned = if self.flaw == Flaw::LifetimeHasNoSign { ttl.abs() } else { *ttl };
            let saved = self.inner.save(state, &unsigned).await?;
            let quoted = format!("\"{}\"", saved.as_ref());
            Ok(if self.flaw == Flaw::KeyIsQuoted { key(&quoted) } else { saved })
        }

        async fn update(
            &self,
            key: SessionKey,
            state: State,
            ttl: &Duration,
        ) -> Result<SessionKey, UpdateError> {
            let known = self.unquoted(&key);
            let live = self.inner.sessions().contains(known.as_ref());
            match self.flaw {
                Flaw::UpdateIsLost => return Ok(key),
                Flaw::UpdateCreates if !live => {
                    return self
                        .inner
                        .save(state, ttl)
                        .await
                        .map_err(|it| UpdateError::Other(Error::new(it)));
                }
                _ => {}
            }
            self.inner.update(known, state, ttl).await?;
            let changed = self.flaw == Flaw::UpdateChangesTheKey;
            Ok(if changed { self::key("another") } else { key })
        }

        async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<(), Error> {
            self.inner.update_ttl(&self.unquoted(key), ttl).await
        }

        async fn delete(&self, key: &SessionKey) -> Result<(), Error> {
            self.inner.delete(&self.unquoted(key)).await
        }
    }
}

pub(crate) mod of_async_session {
    use super::{LONGER, Report, Row, Suite, store};
    use async_session::{Result, Session, SessionStore, async_trait};
    use cloakroom::adapters::async_session::{Store, session_id};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Flaw {
        None,
        LoadAddsData,
        /// What is loaded has changed, it says.
        LoadIsDirty,
        /// What is loaded would get a cookie again.
        LoadIsNew,
        LoadProlongs,
        /// The id, of which the cookie is the secret, opens the session too.
        LoadTakesTheId,
        SaveGivesACookie,
        /// The dead get a cookie, of no session.
        SaveOfTheDeadGivesACookie,
        /// All get the first one's cookie.
        CookieIsTheFirst,
        DataIsLost,
        /// One value comes back as another's.
        DataIsMixedUp,
        /// No expiry is one of an hour.
        EndsUnasked,
        /// Any cookie as long as the framework's finds a session.
        LoadFindsKeysOfItsForm,
    }

    pub(crate) const FLAWS: [Row<Flaw>; 12] = [
        (Flaw::None, &[]),
        (Flaw::LoadAddsData, &["loaded_session_is_the_stored_one"]),
        (Flaw::LoadIsDirty, &["loaded_session_is_not_dirty"]),
        (Flaw::LoadIsNew, &["only_a_new_session_gets_a_cookie", "loaded_session_is_not_dirty"]),
        (Flaw::LoadProlongs, &["load_does_not_move_the_end"]),
        (Flaw::LoadTakesTheId, &["cookie_is_not_the_key"]),
        (
            Flaw::SaveGivesACookie,
            &["only_a_new_session_gets_a_cookie", "loaded_session_is_not_dirty"],
        ),
        (Flaw::SaveOfTheDeadGivesACookie, &["only_a_new_session_gets_a_cookie"]),
        (Flaw::CookieIsTheFirst, &["regenerated_session_gets_another_cookie"]),
        (Flaw::DataIsLost, &["loaded_session_is_the_stored_one"]),
        (Flaw::DataIsMixedUp, &["loaded_session_is_the_stored_one"]),
        (Flaw::EndsUnasked, &["session_without_expiry_does_not_end"]),
    ];

    pub(crate) fn report(suite: &Suite, flaw: Flaw) -> Report {
        suite.async_session(|clock| Flawed {
            inner: store(clock).into(),
            flaw,
            first: Default::default(),
        })
    }

    #[derive(Clone, Debug)]
    struct Flawed {
        inner: Store,
        flaw: Flaw,
        first: std::sync::Arc<std::sync::OnceLock<String>>,
    }

    #[async_trait]
    impl SessionStore for Flawed {
        async fn load_session(&self, cookie: String) -> Result<Option<Session>> {
            let by_id = self.inner.sessions().contains(&session_id(&cookie));
            if by_id && self.flaw == Flaw::LoadTakesTheId {
                return Ok(Some(Session::new()));
            }
            let is_long =
                cookie.len() == Session::new().into_cookie_value().map_or(0, |it| it.len());
            if is_long && self.flaw == Flaw::LoadFindsKeysOfItsForm {
                let loaded = self.inner.load_session(cookie).await?;
                return Ok(loaded.or_else(|| Some(Session::new())));
            }
            let mut loaded = self.inner.load_session(cookie.clone()).await?;
            if let Some(session) = &mut loaded {
                match self.flaw {
                    Flaw::LoadAddsData => {
                        session.insert_raw("some", "\"thing\"".to_owned());
                        session.reset_data_changed();
                    }
                    Flaw::LoadIsDirty => {
                        session.insert_raw("some", "\"thing\"".to_owned());
                        session.remove("some");
                    }
                    Flaw::LoadIsNew => session.set_cookie_value(cookie),
                    Flaw::LoadProlongs => {
                        self.inner.sessions().set_expiry(&session_id(session.id()), LONGER);
                    }
                    _ => {}
                }
            }
            Ok(loaded)
        }

        async fn store_session(&self, mut session: Session) -> Result<Option<String>> {
            let live = self.inner.sessions().contains(&session_id(session.id()));
            match self.flaw {
                Flaw::DataIsLost => session.remove("5"),
                Flaw::DataIsMixedUp => {
                    let other = session.get_raw("6");
                    other.into_iter().for_each(|it| session.insert_raw("5", it));
                }
                Flaw::EndsUnasked if session.expiry().is_none() => {
                    session.expire_in(std::time::Duration::from_secs(3600));
                }
                _ => {}
            }
            let cookie = self.inner.store_session(session).await?;
            Ok(match self.flaw {
                Flaw::CookieIsTheFirst => cookie.map(|it| self.first.get_or_init(|| it).clone()),
                Flaw::SaveGivesACookie if live => cookie.or(Some("cookie".to_owned())),
                Flaw::SaveOfTheDeadGivesACookie if !live => cookie.or(Some("cookie".to_owned())),
                _ => cookie,
            })
        }

        async fn destroy_session(&self, session: Session) -> Result {
            self.inner.destroy_session(session).await
        }

        async fn clear_store(&self) -> Result {
            self.inner.clear_store().await
        }
    }
}
