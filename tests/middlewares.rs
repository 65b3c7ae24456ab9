//! The frameworks' own middlewares on the adapters, without a network: cookies, expiry, renewal, logout.
//! What each framework's own suite looks at, in our words.

mod tower {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode, header};
    use axum::response::Response;
    use axum::routing::get;
    use cloakroom::adapters::tower_sessions::Store;
    use time::{Duration, OffsetDateTime};
    use tower::ServiceExt;
    use tower_sessions::{Expiry, Session, SessionManagerLayer};

    const HOUR: Duration = Duration::hours(1);

    fn app(expiry: Option<Expiry>, domain: Option<&'static str>) -> Router {
        let mut layer = SessionManagerLayer::new(Store::default());
        if let Some(expiry) = expiry {
            layer = layer.with_expiry(expiry);
        }
        if let Some(domain) = domain {
            layer = layer.with_domain(domain);
        }
        let day = || Expiry::AtDateTime(OffsetDateTime::now_utc() + Duration::days(1));
        Router::new()
            .route("/", get(|_: Session| async { "untouched" }))
            .route("/put", get(|s: Session| async move { s.insert("n", 42).await.unwrap() }))
            .route(
                "/show",
                get(|s: Session| async move { format!("{:?}", s.get::<u8>("n").await.unwrap()) }),
            )
            .route(
                "/take",
                get(|s: Session| async move { drop(s.remove_value("n").await.unwrap()) }),
            )
            .route("/cycle", get(|s: Session| async move { s.cycle_id().await.unwrap() }))
            .route("/flush", get(|s: Session| async move { s.flush().await.unwrap() }))
            .route("/clear", get(|s: Session| async move { s.clear().await }))
            .route("/day", get(move |s: Session| async move { s.set_expiry(Some(day())) }))
            .route(
                "/close",
                get(|s: Session| async move { s.set_expiry(Some(Expiry::OnSessionEnd)) }),
            )
            .layer(layer)
    }

    async fn send(app: &Router, path: &str, cookie: &str) -> Response {
        let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty());
        let response = app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response
    }

    /// Returns the cookie and its attributes.
    fn set_cookie(response: &Response) -> Option<(String, String)> {
        let value = response.headers().get(header::SET_COOKIE)?.to_str().unwrap();
        let (pair, attributes) = value.split_once("; ").unwrap();
        Some((pair.to_owned(), attributes.to_owned()))
    }

    async fn put(app: &Router) -> (String, String) {
        set_cookie(&send(app, "/put", "").await).unwrap()
    }

    async fn shown(app: &Router, cookie: &str) -> String {
        let body = send(app, "/show", cookie).await.into_body();
        String::from_utf8(to_bytes(body, 100).await.unwrap().to_vec()).unwrap()
    }

    fn max_age(attributes: &str) -> Option<Duration> {
        let ages = attributes.split("; ").find_map(|part| part.strip_prefix("Max-Age="));
        ages.map(|seconds| Duration::seconds(seconds.parse().unwrap()))
    }

    fn about(age: Option<Duration>, expected: Duration) -> bool {
        age.is_some_and(|age| (expected - age).abs() <= Duration::minutes(5))
    }

    #[tokio::test]
    async fn untouched_session_sets_no_cookie() {
        let app = app(Some(Expiry::OnInactivity(HOUR)), None);
        assert_eq!(set_cookie(&send(&app, "/", "").await), None);
        assert_eq!(shown(&app, "").await, "None");
    }

    #[tokio::test]
    async fn unknown_and_malformed_cookies_are_not_adopted() {
        let app = app(Some(Expiry::OnInactivity(HOUR)), None);
        for planted in ["id=AAAAAAAAAAAAAAAAAAAAAA", "id=malformed", "id="] {
            assert_eq!(shown(&app, planted).await, "None");
            let (cookie, _) = set_cookie(&send(&app, "/put", planted).await).unwrap();
            assert_ne!(cookie, planted);
            send(&app, "/clear", planted).await;
            assert_eq!(shown(&app, planted).await, "None");
        }
    }

    #[tokio::test]
    async fn cookie_is_hard_to_steal_and_lasts_as_long_as_the_session() {
        let (_, attributes) = put(&app(Some(Expiry::OnInactivity(HOUR)), None)).await;
        for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(attributes.contains(attribute), "{attributes}");
        }
        assert!(about(max_age(&attributes), HOUR), "{attributes}");
        let (_, attributes) = put(&app(None, None)).await;
        assert_eq!(max_age(&attributes), None);
    }

    #[tokio::test]
    async fn what_was_put_is_shown_until_it_is_taken() {
        let app = app(Some(Expiry::OnInactivity(HOUR)), None);
        let (cookie, _) = put(&app).await;
        assert_eq!(shown(&app, &cookie).await, "Some(42)");
        send(&app, "/take", &cookie).await;
        assert_eq!(shown(&app, &cookie).await, "None");
    }

    #[tokio::test]
    async fn cycling_keeps_the_data_under_another_id() {
        let app = app(Some(Expiry::OnInactivity(HOUR)), None);
        let (old, _) = put(&app).await;
        let (new, _) = set_cookie(&send(&app, "/cycle", &old).await).unwrap();
        assert_ne!(old, new);
        assert_eq!(
            (shown(&app, &old).await, shown(&app, &new).await),
            ("None".into(), "Some(42)".into())
        );
    }

    #[tokio::test]
    async fn flushing_removes_session_and_cookie() {
        let app = app(Some(Expiry::OnInactivity(HOUR)), Some("localhost"));
        let (cookie, _) = put(&app).await;
        let (removal, attributes) = set_cookie(&send(&app, "/flush", &cookie).await).unwrap();
        assert_eq!((removal.as_str(), max_age(&attributes)), ("id=", Some(Duration::ZERO)));
        assert!(attributes.contains("Path=/") && attributes.contains("Domain=localhost"));
        assert_eq!(shown(&app, &cookie).await, "None");
    }

    #[tokio::test]
    async fn expiry_of_a_session_can_be_changed() {
        for expiry in [Some(Expiry::OnInactivity(HOUR)), None] {
            let app = app(expiry, None);
            let (cookie, _) = put(&app).await;
            let (same, attributes) = set_cookie(&send(&app, "/day", &cookie).await).unwrap();
            assert!(same == cookie && about(max_age(&attributes), Duration::days(1)));
            let (same, attributes) = set_cookie(&send(&app, "/close", &cookie).await).unwrap();
            assert!(same == cookie && max_age(&attributes).is_none());
            assert_eq!(shown(&app, &cookie).await, "Some(42)");
        }
    }

    #[tokio::test]
    async fn expiry_in_the_past_ends_the_session() {
        let past = Expiry::AtDateTime(OffsetDateTime::now_utc() - HOUR);
        let app = app(Some(past), None);
        let (cookie, _) = put(&app).await;
        assert_eq!(shown(&app, &cookie).await, "None");
    }
}

mod actix {
    use actix_http::Request;
    use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
    use actix_session::{Session, SessionMiddleware};
    use actix_web::body::MessageBody;
    use actix_web::cookie::{Cookie, Key};
    use actix_web::dev::{Service, ServiceResponse};
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::web::{self, ServiceConfig};
    use actix_web::{App, Error};
    use cloakroom::adapters::actix_session::Store;
    use time::Duration;

    const TTL: Duration = Duration::seconds(60);

    const SECURITIES: [CookieContentSecurity; 2] =
        [CookieContentSecurity::Signed, CookieContentSecurity::Private];

    fn count(session: &Session) -> i32 {
        session.get("count").unwrap().unwrap_or_default()
    }

    fn routes(config: &mut ServiceConfig) {
        let show = |session: Session| async move {
            format!("{:?} {}", session.get::<String>("user").unwrap(), count(&session))
        };
        let add = |session: Session| async move {
            session.insert("count", count(&session) + 1).unwrap();
            ""
        };
        let sign_in = |session: Session| async move {
            session.renew();
            session.insert("user", "ferris").unwrap();
            ""
        };
        let sign_out = |session: Session| async move {
            session.purge();
            ""
        };
        config
            .route("/", web::get().to(show))
            .route("/add", web::get().to(add))
            .route("/sign-in", web::get().to(sign_in))
            .route("/sign-out", web::get().to(sign_out));
    }

    async fn app(
        store: Store,
        security: CookieContentSecurity,
        policy: TtlExtensionPolicy,
    ) -> impl Service<Request, Response = ServiceResponse<impl MessageBody>, Error = Error> {
        let lifecycle =
            PersistentSession::default().session_ttl(TTL).session_ttl_extension_policy(policy);
        let middleware = SessionMiddleware::builder(store, Key::generate())
            .cookie_content_security(security)
            .session_lifecycle(lifecycle)
            .build();
        init_service(App::new().wrap(middleware).configure(routes)).await
    }

    type Answer = (String, Option<Cookie<'static>>);

    async fn send<B: MessageBody>(
        app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
        path: &str,
        cookie: Option<&Cookie<'static>>,
    ) -> Answer {
        let mut request = TestRequest::with_uri(path);
        if let Some(cookie) = cookie {
            request = request.cookie(cookie.clone());
        }
        let response = call_service(app, request.to_request()).await;
        assert!(response.status().is_success(), "{path}");
        let cookie = response.response().cookies().next().map(Cookie::into_owned);
        (String::from_utf8(read_body(response).await.to_vec()).unwrap(), cookie)
    }

    #[actix_web::test]
    async fn session_goes_from_visitor_to_user_and_ends_at_the_sign_out() {
        for security in SECURITIES {
            let store = Store::default();
            let app = app(store.clone(), security, TtlExtensionPolicy::OnStateChanges).await;
            assert_eq!(send(&app, "/", None).await, ("None 0".into(), None));
            let (_, visitor) = send(&app, "/add", None).await;
            let (_, again) = send(&app, "/add", visitor.as_ref()).await;
            assert_eq!(send(&app, "/", again.as_ref()).await, ("None 2".into(), None));
            let (_, user) = send(&app, "/sign-in", again.as_ref()).await;
            assert_eq!(send(&app, "/", user.as_ref()).await.0, "Some(\"ferris\") 2");
            assert_eq!(send(&app, "/", visitor.as_ref()).await.0, "None 0", "before the sign-in");
            let (_, removal) = send(&app, "/sign-out", user.as_ref()).await;
            let removal = removal.unwrap();
            assert_eq!((removal.value(), removal.max_age()), ("", Some(Duration::ZERO)));
            assert_eq!(send(&app, "/", user.as_ref()).await.0, "None 0", "after the sign-out");
            send(&app, "/add", user.as_ref()).await;
            assert_eq!(store.sessions().len(), 1, "a new session only");
        }
    }

    #[actix_web::test]
    async fn lifetime_is_renewed_on_changes_or_on_every_request() {
        for security in SECURITIES {
            for policy in [TtlExtensionPolicy::OnStateChanges, TtlExtensionPolicy::OnEveryRequest] {
                let every = matches!(policy, TtlExtensionPolicy::OnEveryRequest);
                let app = app(Store::default(), security, policy).await;
                let (_, cookie) = send(&app, "/add", None).await;
                assert_eq!(cookie.as_ref().and_then(Cookie::max_age), Some(TTL));
                let (_, read) = send(&app, "/", cookie.as_ref()).await;
                assert_eq!(read.is_some(), every);
                let (_, changed) = send(&app, "/add", cookie.as_ref()).await;
                assert_eq!(changed.and_then(|cookie| cookie.max_age()), Some(TTL));
            }
        }
    }
}
