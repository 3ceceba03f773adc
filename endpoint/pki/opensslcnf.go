package pki

// opensslCnf is the openssl-easyrsa.cnf of a directory that we made: easy-rsa 3.1
// runs no command in a directory without one. The names in it are those that
// easy-rsa's script fills in (environment variables, and the lines with #%…%).
const opensslCnf = `# Written by adit-endpoint, for easy-rsa 3.

[ ca ]
default_ca = CA_default

[ CA_default ]
dir = $ENV::EASYRSA_PKI
certs = $dir
crl_dir = $dir
database = $dir/index.txt
new_certs_dir = $dir/certs_by_serial
certificate = $dir/ca.crt
serial = $dir/serial
crl = $dir/crl.pem
private_key = $dir/private/ca.key
x509_extensions = basic_exts
#%COPY_EXTS%
crl_extensions = crl_ext
default_days = $ENV::EASYRSA_CERT_EXPIRE
default_crl_days = $ENV::EASYRSA_CRL_DAYS
default_md = $ENV::EASYRSA_DIGEST
preserve = no
unique_subject = no
policy = policy_anything

[ policy_anything ]
countryName = optional
stateOrProvinceName = optional
localityName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
name = optional
emailAddress = optional

[ req ]
default_bits = $ENV::EASYRSA_KEY_SIZE
default_keyfile = privkey.pem
default_md = $ENV::EASYRSA_DIGEST
distinguished_name = $ENV::EASYRSA_DN
x509_extensions = easyrsa_ca
#%EXTRA_EXTS%

[ cn_only ]
commonName = Common Name
commonName_max = 64
commonName_default = $ENV::EASYRSA_REQ_CN

[ org ]
countryName = Country Name (2 letters)
countryName_default = $ENV::EASYRSA_REQ_COUNTRY
countryName_min = 2
countryName_max = 2
stateOrProvinceName = State or Province
stateOrProvinceName_default = $ENV::EASYRSA_REQ_PROVINCE
localityName = City
localityName_default = $ENV::EASYRSA_REQ_CITY
0.organizationName = Organization
0.organizationName_default = $ENV::EASYRSA_REQ_ORG
organizationalUnitName = Organizational Unit
organizationalUnitName_default = $ENV::EASYRSA_REQ_OU
commonName = Common Name
commonName_max = 64
commonName_default = $ENV::EASYRSA_REQ_CN
emailAddress = Email Address
emailAddress_default = $ENV::EASYRSA_REQ_EMAIL
emailAddress_max = 64

[ basic_exts ]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer:always

[ easyrsa_ca ]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer:always
basicConstraints = CA:true
keyUsage = cRLSign, keyCertSign
#%CA_X509_TYPES_EXTRA_EXTS%

[ crl_ext ]
authorityKeyIdentifier = keyid:always,issuer:always
`
