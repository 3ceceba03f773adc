# Nix: the programs without the desktop app, from this tree: nix-build installer/linux/nix --argstr version 1.2.3
# vendorHash is that of the release's Go modules; without one, the first build says what it is.
{ pkgs ? import <nixpkgs> { }, version ? "0.0.0", vendorHash ? pkgs.lib.fakeHash }:

pkgs.buildGoModule {
  pname = "adit";
  inherit version vendorHash;
  src = ../../..;
  env.CGO_ENABLED = "0";
  ldflags = [ "-s" "-w" "-X main.version=${version}" ];
  subPackages = [ "cmd/adit" "cmd/aditd" "cmd/adit-endpoint" "cmd/adit-pkcs11" "cmd/aws-vpn-client" ];
  doCheck = false; # the lab needs root and other peers

  # adit finds its other programs beside itself, behind links.
  postInstall = ''
    mkdir -p $out/lib/adit build/linux-$(go env GOARCH)
    mv $out/bin/* build/linux-$(go env GOARCH)/
    mv build/linux-$(go env GOARCH)/adit build/linux-$(go env GOARCH)/adit-userspace
    go build -tags nouserspace -ldflags "-s -w -X main.version=${version}" -o build/linux-$(go env GOARCH)/adit ./cmd/adit
    SOURCE_DATE_EPOCH=1 go run ./installer/linux/build -version ${version} -bin build -arch $(go env GOARCH) \
      -formats tree -packages adit,adit-endpoint -out build
    cp -r build/tree/adit/usr/. build/tree/adit-endpoint/usr/. $out/
    for unit in $out/lib/systemd/system/*.service; do
      substituteInPlace $unit --replace-fail /usr/lib/adit $out/lib/adit
    done
  '';

  meta = {
    description = "VPN client for AWS Client VPN and OpenVPN servers";
    homepage = "https://github.com/adit-vpn/adit";
    license = pkgs.lib.licenses.asl20;
    platforms = pkgs.lib.platforms.linux;
    mainProgram = "adit";
  };
}
