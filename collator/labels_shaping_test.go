package collator

import (
	"testing"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// shapingCases are about requests and answers that are changed on their way.
func shapingCases(t testing.TB) []goldenCase {
	scope := []xds.Type{xds.Scope}
	one := func(name string, types []xds.Type, settings ...string) goldenCase {
		return goldenCase{name: "label_" + name, types: types, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test", "www.shop.test"), settings...)}}
	}
	mirror := one("mirror", []xds.Type{xds.Cluster, xds.Endpoint, xds.Scope}, "MIRROR=/shop/next 5%, /elsewhere/app 100%")
	mirror.apps = append(mirror.apps, webApp("/shop/next"), webApp("/elsewhere/app"))
	fault := one("fault", scope, "FAULT=delay 2s 10%, abort 503 0.5%")
	fault.fleet = func(f *routing.Fleet) { f.Faults = true }
	return []goldenCase{
		one("redirect", scope, "REDIRECT=www.shop.test -> https://shop.test 308\n/old/* -> /new/*\n/100%25 -> https://other.test/?x=1 302", "PATH=/"),
		one("path_rewrite", scope, "PATH_REWRITE=/v[0-9]+/users/([^/]+) -> /users/\\1/profile", "HOST_REWRITE=shop.internal:8080"),
		one("cors", scope, "CORS_ORIGINS=https://a.test http://*.b.test:8080", "CORS_METHODS=PUT", "CORS_HEADERS=*", "CORS_EXPOSE_HEADERS=X-Total", "CORS_CREDENTIALS=true", "CORS_MAX_AGE=1h",
			"BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
		one("cors_all", scope, "CORS_ORIGINS=*"),
		one("compress", scope, "COMPRESS=true"),
		one("compress_gzip", scope, "COMPRESS=gzip"),
		one("sticky_header", []xds.Type{xds.Cluster, xds.Scope}, "STICKY_HEADER=X-Session"),
		one("priority", scope, "PRIORITY=/health /checkout", "CLUSTER_WEIGHT=1"),
		one("outlier_detection", []xds.Type{xds.Cluster}, "OUTLIER_DETECTION=5 2m"),
		mirror, fault,
		one("fault_not_allowed", scope, "FAULT=delay 2s 10%"),
	}
}
