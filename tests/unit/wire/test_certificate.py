import pytest
from cryptography import x509

from partita.errors import BadDocument, NotFound
from partita.wire import init_ca, issue
from partita.wire.certificate import certificate_fault


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_ca_signs_no_other_ca(fleet):
    """Its path length is zero, and what it issues is no CA."""
    ca, server = load(fleet / "ca.pem"), load(fleet / "server.pem")

    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        True, 0
    )
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    server.verify_directly_issued_by(ca)


def test_hosts_become_alternative_names(tmp_path):
    """Names and addresses each in their own form."""
    init_ca(tmp_path)
    issued = issue(tmp_path, "edge", hosts=["edge.example.org", "192.0.2.7", "[::1]"])
    names = load(issued.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["edge.example.org"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]


def test_keys_are_their_owners_own(fleet):
    """Nobody else reads a private key."""
    assert {path.stat().st_mode & 0o777 for path in fleet.glob("*server.key")} == {0o600}


def test_nothing_is_overwritten(tmp_path):
    """A second CA or certificate of the same name is refused."""
    init_ca(tmp_path)
    with pytest.raises(BadDocument, match="there already"):
        init_ca(tmp_path)


def test_issuing_needs_a_ca(tmp_path):
    """Without one the command that makes it is named."""
    with pytest.raises(NotFound, match=r"ca\.pem") as caught:
        issue(tmp_path, "edge")

    assert "certs init" in caught.value.fix


def test_a_broken_ca_is_told_so(tmp_path):
    """Files that are not PEM are not a CA."""
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(BadDocument, match="CA in"):
        issue(tmp_path, "edge")


@pytest.mark.parametrize("name", ["", "ca", "../edge", "a/b", ".hidden", "a b"])
def test_names_are_file_names(tmp_path, name):
    """A name can not leave the folder or replace the CA."""
    with pytest.raises(BadDocument, match="name"):
        issue(tmp_path, name)


def test_all_problems_at_once(tmp_path):
    """Name, purpose and hosts are judged together."""
    with pytest.raises(BadDocument) as caught:
        issue(tmp_path, "a b", hosts=["", "münchen.example"], purpose="both")

    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("name", "ca", "fault"),
    [
        (None, "ca.pem", "missing"),
        ("old-client", "ca.pem", "has expired on"),
        ("stranger", "ca.pem", "not from the CA"),
        ("client", "ca.pem", None),
        ("client", None, None),
    ],
)
def test_faults_one_can_see_oneself(tls, name, ca, fault):
    """What a server will have against a certificate, as far as its owner can tell."""
    found = certificate_fault(tls(name, ca))

    assert (found is None) == (fault is None)
    assert fault is None or fault in found[0]


def test_issued_files_make_tls_settings(tmp_path):
    """What was issued is ready to be used."""
    init_ca(tmp_path)
    tls = issue(tmp_path, "edge").tls()

    assert tls.server_context()
    assert tls.ca == tmp_path / "ca.pem"
