vcl 4.1;
import directors;
include "/etc/varnish/backends.vcl";

sub vcl_recv {
    set req.backend_hint = all_backends.backend();
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
