"""Users and groups of the test directory, straight into Samba's database.

argv: smb.conf sam.ldb password lockout-threshold; prints {account: SID} as JSON.
"""
import json
import sys

from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

conf, database, password, threshold = sys.argv[1:]
lp = LoadParm()
lp.load(conf)
db = SamDB(url=database, session_info=system_session(), lp=lp)
base = db.domain_dn()


def modify(dn, attribute, value, controls=None):
    db.modify_ldif("dn: %s\nchangetype: modify\nreplace: %s\n%s: %s\n" % (dn, attribute, attribute, value), controls=controls)


def user(name):
    return str(db.search(base, expression="(sAMAccountName=%s)" % name, attrs=[])[0].dn)


modify(base, "lockoutThreshold", threshold)

names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "o'hara (it)"]
for name in names:
    db.newuser(name, password, force_password_change_at_next_login_req=(name == "frank"))
groups = ["VPN-Users", "VPN-Admins", "Engineering"]
for group in groups:
    db.newgroup(group)
db.add_remove_group_members("Engineering", ["alice"])
db.add_remove_group_members("VPN-Users", ["Engineering", "bob", "o'hara (it)"])
db.add_remove_group_members("VPN-Admins", ["alice"])

db.disable_account("(sAMAccountName=carol)")
long_ago = 125911584000000000  # 2000-01-01, in units of 100 ns since 1601
modify(user("erin"), "accountExpires", long_ago)
# pwdLastSet as it is given (DSDB_CONTROL_PASSWORD_BYPASS_LAST_SET)
modify(user("grace"), "pwdLastSet", long_ago, ["local_oid:1.3.6.1.4.1.7165.4.3.20:0"])

sids = {}
for entry in db.search(base, expression="(|(objectClass=user)(objectClass=group))", attrs=["sAMAccountName", "objectSid"]):
    if "objectSid" in entry:
        sids[str(entry["sAMAccountName"])] = str(ndr_unpack(security.dom_sid, entry["objectSid"][0]))
print(json.dumps(sids))
