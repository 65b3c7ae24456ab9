//! What two threads of one request may do in an order that no test can bring about from outside.

use super::*;
use crate::cookie::SessionCookie;

#[test]
fn what_was_looked_up_before_does_not_take_the_place_of_what_was_noted_since() {
    let store = SessionStore::<u32>::builder().build().unwrap();
    let (cookie, lifetime) = (SessionCookie::new(), CookieLifetime::default());
    let (settings, id) = (store.clone(), *store.create().id());
    let on_conflict = OnConflict::LastWins;
    let slot = Slot::new(Arc::new(Settings { store: settings, cookie, on_conflict, lifetime }));
    let sent = HeaderValue::try_from(format!("__Host-session={}", id.to_token())).unwrap();
    let view = slot.open(&HeaderMap::from_iter([(header::COOKIE, sent)]));

    let before = store.peek(&id).unwrap();
    store.update(&id, |data| *data = 1);
    let after = store.peek(&id).unwrap();
    assert!(slot.note(&after, view.epoch, view.version).is_some());
    assert_eq!(slot.note(&before, view.epoch, view.version), None);
    assert_eq!(*slot.open_again().held.data(), 1);
    let (again, _) = slot.look_again(view.epoch).unwrap();
    assert_eq!(*again, 1);
}
