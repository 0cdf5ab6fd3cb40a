# In a throw-away Debian: a signed apt repository in /out/debian, of packages with Docker's names.
# They are Debian's own engine under another name, and Compose's wheel; buildx is an empty package.
# docker-ce comes in two versions, so that there is something to upgrade to: their engine is the same.
set -eu
. /etc/os-release
dist=/out/debian/dists/$VERSION_CODENAME pool=/out/debian/pool
mkdir -p "$dist/stable/binary-amd64" "$pool" /build
cat >/etc/apt/apt.conf.d/90lab
apt-get -qq update
apt-get -qq install --no-install-recommends gnupg apt-utils >/dev/null 2>&1
cd /build
apt-get -qq download docker.io containerd runc

package() { # NAME VERSION DEPENDS: of the files in ./NAME
    test -d "$1/DEBIAN" || {
        mkdir -p "$1/DEBIAN"
        printf 'Architecture: amd64\nMaintainer: lab\nDescription: for the lab\n' >"$1/DEBIAN/control"
    }
    sed -i \
        '/^\(Package\|Version\|Depends\|Source\|Built-Using\|Recommends\|Suggests\|Breaks\|Conflicts\|Replaces\|Provides\):/d' \
        "$1/DEBIAN/control"
    sed -i "1i Package: $1\nVersion: $2\nDepends: $3" "$1/DEBIAN/control"
    rm -f "$1/DEBIAN/md5sums"
    dpkg-deb -Znone --root-owner-group --build "$1" "$pool" >/dev/null
}

dpkg-deb --raw-extract docker.io_*.deb docker-ce
dpkg-deb --raw-extract containerd_*.deb containerd.io
dpkg-deb --extract runc_*.deb containerd.io
mkdir -p docker-ce-cli/usr/bin docker-compose-plugin/usr/libexec/docker/cli-plugins docker-buildx-plugin
mv docker-ce/usr/bin/docker docker-ce-cli/usr/bin/
install -m 755 /compose docker-compose-plugin/usr/libexec/docker/cli-plugins/docker-compose
engine=$(sed -n 's/^Depends: //p' docker-ce/DEBIAN/control | sed 's/containerd ([^)]*)/containerd.io, docker-ce-cli/; s/, runc ([^)]*)//')
package containerd.io 1.6.20-1 "$(sed -n 's/^Depends: //p' containerd.io/DEBIAN/control | sed 's/runc ([^)]*), //; s/, runc ([^)]*)//')"
package docker-buildx-plugin 0.0.0-1 base-files
package docker-compose-plugin 5.0.0-1 base-files
for version in $VERSIONS; do
    package docker-ce-cli "5:$version-1~debian.$VERSION_ID~$VERSION_CODENAME" base-files
    package docker-ce "5:$version-1~debian.$VERSION_ID~$VERSION_CODENAME" "$engine"
done

cd /out/debian
apt-ftparchive packages pool >"$dist/stable/binary-amd64/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Codename="$VERSION_CODENAME" \
    -o APT::FTPArchive::Release::Architectures=amd64 -o APT::FTPArchive::Release::Components=stable \
    release "$dist" >/build/Release
key() { # NAME: a key that ends with this container
    gpg --batch --quiet --passphrase '' --quick-generate-key "$1" ed25519 sign never
}
key lab && key stranger
gpg --armor --export lab >/out/debian/gpg
gpg --batch --local-user lab --clearsign --output "$dist/InRelease" /build/Release
# The same packages and the same public key, but signed by somebody else.
mkdir -p "/out/forged/debian/dists"
cp -R "$dist" /out/forged/debian/dists/
ln -s ../../debian/pool /out/forged/debian/pool
cp /out/debian/gpg /out/forged/debian/
gpg --batch --yes --local-user stranger --clearsign \
    --output "/out/forged/debian/dists/$VERSION_CODENAME/InRelease" /build/Release
