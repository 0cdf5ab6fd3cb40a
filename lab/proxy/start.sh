# In a throw-away Debian: a site's proxy that looks into TLS. Behind it, under the names of Docker Hub and of
# Ollama's registry and with certificates that the site alone trusts (/site.crt), is the lab's mirror at $1.
set -eu
cat >/etc/apt/apt.conf.d/90lab
apt-get -qq update
apt-get -qq install --no-install-recommends tinyproxy-bin haproxy openssl >/dev/null 2>&1
names='registry-1.docker.io registry.ollama.ai blobs.registry.example'
echo "127.0.0.1 $names" >>/etc/hosts
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=the site' -keyout /key -out /site.crt \
    -addext "subjectAltName=DNS:$(echo $names | sed 's/ /,DNS:/g')" 2>/dev/null
cat /site.crt /key >/both.pem
cat >/haproxy.cfg <<END
defaults
    mode http
    timeout connect 5s
    timeout client 10m
    timeout server 10m
listen upstream
    bind 127.0.0.1:443 ssl crt /both.pem
    acl blob path_reg ^/v2/.+/blobs/sha256:
    acl elsewhere hdr_beg(host) blobs.
    http-request redirect code 307 location https://blobs.registry.example%[path] if METH_GET blob !elsewhere
    http-request replace-path ^/v2/library/haproxy/(.*) /v2/haproxy/\1
    http-request set-header Host [::1]
    server mirror $1
END
printf '%s\n' 'Port 8888' 'Timeout 600' 'MaxClients 100' 'LogFile "/proxy.log"' 'LogLevel Connect' >/tinyproxy.conf
haproxy -D -f /haproxy.cfg
tinyproxy -c /tinyproxy.conf
hostname -i
