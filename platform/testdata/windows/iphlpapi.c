// A stand-in for Windows' iphlpapi.dll, for tests under wine, whose own can add no routes and has no devices that come and go. It has
// those of the host, and beside them what it is told, read by the headers' structures; what changes something is written
// to the file that IPHLPAPI_LOG names, a line for each call. wintun.c makes its devices here.
//   cp /usr/lib/x86_64-linux-gnu/wine/x86_64-windows/iphlpapi.dll iphlpwin.dll
//   printf '%032d' 0 | tr 0 '\0' | dd of=iphlpwin.dll bs=1 seek=64 conv=notrunc # no longer a part of wine, but a library as any other
//   x86_64-w64-mingw32-gcc -D_WIN32_WINNT=0x0A00 -Wall -shared -o iphlpapi.dll iphlpapi.c iphlpapi.def -lws2_32 -Wl,--out-implib,libstandin.a
// Both go into drive_c/windows/system32 of the prefix, with WINEDLLOVERRIDES=iphlpapi,iphlpwin=n. The file iphlpapi.def has "name = iphlpwin.name"
// for each function of the original that is not here.
#include <winsock2.h>
#include <ws2tcpip.h>
#include <ws2ipdef.h>
#include <iphlpapi.h>
#include <netioapi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __declspec(dllexport) DWORD WINAPI
#define VOIDAPI __declspec(dllexport) void WINAPI
enum { MAX = 1024, DEVICES = 8, ADDRESSES = 16, NAMES = 512 };

typedef struct {
	NET_LUID luid; // 0: free
	GUID guid;
	DWORD index;
	WCHAR name[128], description[128];
	struct { SOCKADDR_INET a; UINT8 bits; } addresses[ADDRESSES];
	int naddresses;
	MIB_IPINTERFACE_ROW family[2];
	char servers[2][NAMES];
} device;

static device devices[DEVICES];
static MIB_IPFORWARD_ROW2 rows[MAX];
static int nrows, made;
static PIPFORWARD_CHANGE_CALLBACK on_route;
static PUNICAST_IPADDRESS_CHANGE_CALLBACK on_address;
static PIPINTERFACE_CHANGE_CALLBACK on_link;

static void say(const char *format, ...) {
	char *name = getenv("IPHLPAPI_LOG");
	FILE *f = name ? fopen(name, "ab") : NULL;
	if (!f)
		return;
	va_list args;
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fclose(f);
}

static FARPROC original(const char *name) { return GetProcAddress(LoadLibraryA("iphlpwin.dll"), name); }

static const char *text(const SOCKADDR_INET *a) {
	static char out[4][64];
	static int i;
	char *s = out[i++ % 4];
	if (a->si_family == AF_INET)
		inet_ntop(AF_INET, (void *)&a->Ipv4.sin_addr, s, 64);
	else if (a->si_family == AF_INET6)
		inet_ntop(AF_INET6, (void *)&a->Ipv6.sin6_addr, s, 64);
	else
		strcpy(s, "?");
	return s;
}

static device *find(NET_LUID luid) {
	for (int i = 0; i < DEVICES; i++)
		if (devices[i].luid.Value && devices[i].luid.Value == luid.Value)
			return &devices[i];
	return NULL;
}

static const char *called(NET_LUID luid) {
	static char out[2][160];
	static int i;
	char *s = out[i++ % 2];
	device *d = find(luid);
	if (d)
		snprintf(s, 160, "%ls", d->name);
	else
		snprintf(s, 160, "a device of the kind %u", (unsigned)luid.Info.IfType);
	return s;
}

static int there(NET_LUID luid) {
	DWORD (WINAPI *f)(const NET_LUID *, NET_IFINDEX *) = (void *)original("ConvertInterfaceLuidToIndex");
	NET_IFINDEX index;
	return find(luid) || f(&luid, &index) == 0;
}

// What wintun.c calls.
__declspec(dllexport) UINT64 StandInAdd(const WCHAR *name, const WCHAR *kind, const GUID *guid) {
	for (int i = 0; i < DEVICES; i++) {
		device *d = &devices[i];
		if (d->luid.Value)
			continue;
		memset(d, 0, sizeof *d);
		d->luid.Info.IfType = 53;
		d->luid.Info.NetLuidIndex = ++made;
		d->index = 1000 + made;
		if (guid)
			d->guid = *guid;
		_snwprintf(d->name, 127, L"%ls", name);
		_snwprintf(d->description, 127, L"%ls Tunnel", kind);
		for (int six = 0; six < 2; six++) {
			MIB_IPINTERFACE_ROW *r = &d->family[six];
			r->Family = six ? AF_INET6 : AF_INET;
			r->InterfaceLuid = d->luid;
			r->InterfaceIndex = d->index;
			r->NlMtu = 65535;
			r->UseAutomaticMetric = TRUE;
			r->Metric = 5;
			r->DadTransmits = 3;
			r->SitePrefixLength = six ? 64 : 255; // as Windows has it, which it does not take back
			r->RouterDiscoveryBehavior = RouterDiscoveryEnabled;
		}
		say("device + %ls {%08X-%04X-%04X-...}\n", name, (unsigned)d->guid.Data1, d->guid.Data2, d->guid.Data3);
		return d->luid.Value;
	}
	return 0;
}

__declspec(dllexport) void StandInRemove(UINT64 luid) {
	NET_LUID l = {.Value = luid};
	device *d = find(l);
	if (!d)
		return;
	say("device - %ls\n", d->name);
	d->luid.Value = 0;
	for (int i = 0; i < nrows; i++)
		if (rows[i].InterfaceLuid.Value == luid)
			rows[i--] = rows[--nrows];
}

__declspec(dllexport) BOOL StandInAddress(UINT64 luid, BYTE address[4]) {
	NET_LUID l = {.Value = luid};
	device *d = find(l);
	for (int i = 0; d && i < d->naddresses; i++)
		if (d->addresses[i].a.si_family == AF_INET) {
			memcpy(address, &d->addresses[i].a.Ipv4.sin_addr, 4);
			return TRUE;
		}
	return FALSE;
}

VOIDAPI InitializeIpForwardEntry(PMIB_IPFORWARD_ROW2 r) {
	memset(r, 0, sizeof *r);
	r->ValidLifetime = r->PreferredLifetime = 0xffffffff;
	r->Metric = 0xffffffff;
	r->Protocol = RouteProtocolNetMgmt;
	r->Loopback = r->AutoconfigureAddress = r->Publish = r->Immortal = TRUE;
}

static int same_address(const SOCKADDR_INET *a, const SOCKADDR_INET *b) {
	if (a->si_family != b->si_family)
		return 0;
	return a->si_family == AF_INET ? memcmp(&a->Ipv4.sin_addr, &b->Ipv4.sin_addr, 4) == 0 : memcmp(&a->Ipv6.sin6_addr, &b->Ipv6.sin6_addr, 16) == 0;
}

static int find_row(const MIB_IPFORWARD_ROW2 *r) {
	for (int i = 0; i < nrows; i++)
		if (rows[i].InterfaceLuid.Value == r->InterfaceLuid.Value && rows[i].DestinationPrefix.PrefixLength == r->DestinationPrefix.PrefixLength &&
		    same_address(&rows[i].DestinationPrefix.Prefix, &r->DestinationPrefix.Prefix) && same_address(&rows[i].NextHop, &r->NextHop))
			return i;
	return -1;
}

static void say_row(const char *what, const MIB_IPFORWARD_ROW2 *r) {
	say("route %s %s/%u via %s by %s metric %u\n", what, text(&r->DestinationPrefix.Prefix), r->DestinationPrefix.PrefixLength, text(&r->NextHop),
	    called(r->InterfaceLuid), (unsigned)r->Metric);
}

API CreateIpForwardEntry2(const MIB_IPFORWARD_ROW2 *r) {
	int family = r->DestinationPrefix.Prefix.si_family;
	if (!there(r->InterfaceLuid))
		return ERROR_NOT_FOUND;
	if ((family != AF_INET && family != AF_INET6) || r->NextHop.si_family != family || r->ValidLifetime != 0xffffffff || r->SitePrefixLength > r->DestinationPrefix.PrefixLength)
		return ERROR_INVALID_PARAMETER;
	if (find_row(r) >= 0)
		return ERROR_OBJECT_ALREADY_EXISTS;
	if (nrows == MAX)
		return ERROR_NOT_ENOUGH_MEMORY;
	rows[nrows++] = *r;
	say_row("+", r);
	if (on_route)
		on_route(NULL, &rows[nrows - 1], MibAddInstance);
	return 0;
}

API GetIpForwardEntry2(PMIB_IPFORWARD_ROW2 r) {
	if (!there(r->InterfaceLuid))
		return ERROR_FILE_NOT_FOUND;
	int i = find_row(r);
	if (i < 0)
		return ERROR_NOT_FOUND;
	*r = rows[i];
	return 0;
}

API SetIpForwardEntry2(const MIB_IPFORWARD_ROW2 *r) {
	int i = find_row(r);
	if (i < 0)
		return ERROR_NOT_FOUND;
	rows[i] = *r;
	say_row("=", r);
	return 0;
}

API DeleteIpForwardEntry2(const MIB_IPFORWARD_ROW2 *r) {
	int i = find_row(r);
	if (i < 0)
		return ERROR_NOT_FOUND;
	MIB_IPFORWARD_ROW2 gone = rows[i];
	say_row("-", &gone);
	rows[i] = rows[--nrows];
	if (on_route)
		on_route(NULL, &gone, MibDeleteInstance);
	return 0;
}

API GetIpForwardTable2(ADDRESS_FAMILY family, PMIB_IPFORWARD_TABLE2 *out) {
	DWORD (WINAPI *f)(ADDRESS_FAMILY, PMIB_IPFORWARD_TABLE2 *) = (void *)original("GetIpForwardTable2");
	PMIB_IPFORWARD_TABLE2 theirs;
	DWORD err = f(family, &theirs);
	if (err)
		return err;
	PMIB_IPFORWARD_TABLE2 all = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *all + (theirs->NumEntries + nrows) * sizeof all->Table[0]);
	memcpy(all->Table, theirs->Table, theirs->NumEntries * sizeof all->Table[0]);
	memcpy(all->Table + theirs->NumEntries, rows, nrows * sizeof all->Table[0]);
	all->NumEntries = theirs->NumEntries + nrows;
	((void (WINAPI *)(PVOID))original("FreeMibTable"))(theirs);
	*out = all;
	return 0;
}

VOIDAPI InitializeIpInterfaceEntry(PMIB_IPINTERFACE_ROW r) { memset(r, 0, sizeof *r); }

API GetIpInterfaceEntry(PMIB_IPINTERFACE_ROW r) {
	device *d = find(r->InterfaceLuid);
	if (!d || (r->Family != AF_INET && r->Family != AF_INET6))
		return ERROR_NOT_FOUND;
	*r = d->family[r->Family == AF_INET6];
	return 0;
}

API SetIpInterfaceEntry(PMIB_IPINTERFACE_ROW r) {
	device *d = find(r->InterfaceLuid);
	if (!d)
		return ERROR_NOT_FOUND;
	int six = r->Family == AF_INET6;
	if (r->SitePrefixLength > (six ? 128 : 32) || (six && r->NlMtu < 1280))
		return ERROR_INVALID_PARAMETER;
	d->family[six] = *r;
	say("interface IPv%d of %ls: MTU %u, metric %u%s, routers %d, DAD %u, DHCP %d\n", six ? 6 : 4, d->name, (unsigned)r->NlMtu, (unsigned)r->Metric,
	    r->UseAutomaticMetric ? " by speed" : "", r->RouterDiscoveryBehavior, (unsigned)r->DadTransmits,
	    r->ManagedAddressConfigurationSupported || r->OtherStatefulConfigurationSupported);
	if (on_link)
		on_link(NULL, r, MibParameterNotification);
	return 0;
}

VOIDAPI InitializeUnicastIpAddressEntry(PMIB_UNICASTIPADDRESS_ROW r) {
	memset(r, 0, sizeof *r);
	r->OnLinkPrefixLength = 255;
	r->PrefixOrigin = IpPrefixOriginUnchanged;
	r->SuffixOrigin = IpSuffixOriginUnchanged;
	r->DadState = IpDadStateInvalid;
	r->SkipAsSource = 1;
}

API CreateUnicastIpAddressEntry(const MIB_UNICASTIPADDRESS_ROW *r) {
	device *d = find(r->InterfaceLuid);
	if (!d)
		return ERROR_NOT_FOUND;
	if (r->OnLinkPrefixLength > 128 || r->ValidLifetime != 0xffffffff || d->naddresses == ADDRESSES)
		return ERROR_INVALID_PARAMETER;
	for (int i = 0; i < d->naddresses; i++)
		if (same_address(&d->addresses[i].a, &r->Address))
			return ERROR_OBJECT_ALREADY_EXISTS;
	d->addresses[d->naddresses].a = r->Address;
	d->addresses[d->naddresses++].bits = r->OnLinkPrefixLength;
	say("address + %s/%u on %ls, state %d, source %d\n", text(&r->Address), r->OnLinkPrefixLength, d->name, r->DadState, !r->SkipAsSource);
	if (on_address)
		on_address(NULL, (void *)r, MibAddInstance);
	return 0;
}

API DeleteUnicastIpAddressEntry(const MIB_UNICASTIPADDRESS_ROW *r) {
	device *d = find(r->InterfaceLuid);
	for (int i = 0; d && i < d->naddresses; i++)
		if (same_address(&d->addresses[i].a, &r->Address)) {
			say("address - %s on %ls\n", text(&r->Address), d->name);
			d->addresses[i] = d->addresses[--d->naddresses];
			return 0;
		}
	return ERROR_NOT_FOUND;
}

API ConvertInterfaceLuidToGuid(const NET_LUID *luid, GUID *guid) {
	DWORD (WINAPI *f)(const NET_LUID *, GUID *) = (void *)original("ConvertInterfaceLuidToGuid");
	device *d = find(*luid);
	if (!d)
		return f(luid, guid);
	*guid = d->guid;
	return 0;
}

// DNS_INTERFACE_SETTINGS of netioapi.h, which mingw's has not.
typedef struct {
	ULONG Version;
	ULONG64 Flags;
	PWSTR Domain, NameServer, SearchList;
	ULONG RegistrationEnabled, RegisterAdapterName, EnableLLMNR, QueryAdapterName;
	PWSTR ProfileNameServer;
} settings;

API SetInterfaceDnsSettings(GUID guid, const settings *s) {
	for (int i = 0; i < DEVICES; i++) {
		device *d = &devices[i];
		if (!d->luid.Value || memcmp(&d->guid, &guid, sizeof guid))
			continue;
		if (s->Version != 1 || (s->Flags & ~1ull) != 6) // NAMESERVER, SEARCHLIST, and IPV6 or not
			return ERROR_INVALID_PARAMETER;
		say("servers IPv%d of %ls: \"%ls\", search \"%ls\"\n", s->Flags & 1 ? 6 : 4, d->name, s->NameServer, s->SearchList);
		snprintf(d->servers[s->Flags & 1], NAMES, "%ls", s->NameServer);
		return 0;
	}
	return ERROR_FILE_NOT_FOUND;
}

API NotifyRouteChange2(ADDRESS_FAMILY family, PIPFORWARD_CHANGE_CALLBACK f, PVOID context, BOOLEAN initial, HANDLE *handle) {
	on_route = f;
	*handle = (HANDLE)1;
	return 0;
}

API NotifyUnicastIpAddressChange(ADDRESS_FAMILY family, PUNICAST_IPADDRESS_CHANGE_CALLBACK f, PVOID context, BOOLEAN initial, HANDLE *handle) {
	on_address = f;
	*handle = (HANDLE)2;
	return 0;
}

API NotifyIpInterfaceChange(ADDRESS_FAMILY family, PIPINTERFACE_CHANGE_CALLBACK f, PVOID context, BOOLEAN initial, HANDLE *handle) {
	on_link = f;
	*handle = (HANDLE)3;
	return 0;
}

API CancelMibChangeNotify2(HANDLE handle) {
	switch ((ULONG_PTR)handle) {
	case 1: on_route = NULL; return 0;
	case 2: on_address = NULL; return 0;
	case 3: on_link = NULL; return 0;
	}
	return ERROR_INVALID_PARAMETER;
}

static SOCKADDR *copy_address(char **at, const SOCKADDR_INET *a, SOCKET_ADDRESS *out) {
	memcpy(*at, a, sizeof *a);
	out->lpSockaddr = (SOCKADDR *)*at;
	out->iSockaddrLength = a->si_family == AF_INET ? sizeof a->Ipv4 : sizeof a->Ipv6;
	*at += (sizeof *a + 15) & ~15;
	return out->lpSockaddr;
}

API GetAdaptersAddresses(ULONG family, ULONG flags, PVOID reserved, PIP_ADAPTER_ADDRESSES out, PULONG size) {
	ULONG (WINAPI *f)(ULONG, ULONG, PVOID, PIP_ADAPTER_ADDRESSES, PULONG) = (void *)original("GetAdaptersAddresses");
	const ULONG ours = DEVICES * 8192;
	ULONG theirs = *size > ours ? *size - ours : 0;
	ULONG err = f(family, flags, reserved, out, &theirs);
	if (err) {
		*size = theirs + ours;
		return err;
	}
	char *at = (char *)out + ((*size - ours) & ~15ul);
	IP_ADAPTER_ADDRESSES *last = out;
	while (last->Next)
		last = last->Next;
	for (int i = 0; i < DEVICES; i++) {
		device *d = &devices[i];
		if (!d->luid.Value)
			continue;
		IP_ADAPTER_ADDRESSES *a = (void *)at;
		memset(a, 0, 8192);
		at += (sizeof *a + 15) & ~15ul;
		a->Length = sizeof *a;
		a->IfIndex = a->Ipv6IfIndex = d->index;
		a->Luid = d->luid;
		a->IfType = 53;
		a->OperStatus = IfOperStatusUp;
		a->Ipv4Metric = d->family[0].Metric;
		a->Ipv6Metric = d->family[1].Metric;
		a->AdapterName = strcpy(at, "{stand-in}"), at += 16;
		a->FriendlyName = wcscpy((WCHAR *)at, d->name), at += sizeof d->name;
		a->Description = wcscpy((WCHAR *)at, d->description), at += sizeof d->description;
		a->DnsSuffix = (WCHAR *)at, at += 16;
		IP_ADAPTER_UNICAST_ADDRESS **next = &a->FirstUnicastAddress;
		for (int j = 0; j < d->naddresses; j++) {
			IP_ADAPTER_UNICAST_ADDRESS *u = *next = (void *)at;
			at += (sizeof *u + 15) & ~15ul;
			u->Length = sizeof *u;
			u->OnLinkPrefixLength = d->addresses[j].bits;
			copy_address(&at, &d->addresses[j].a, &u->Address);
			next = &u->Next;
		}
		IP_ADAPTER_DNS_SERVER_ADDRESS **nextd = &a->FirstDnsServerAddress;
		for (int six = 0; six < 2; six++) {
			char list[NAMES];
			strcpy(list, d->servers[six]);
			for (char *s = strtok(list, ","); s; s = strtok(NULL, ",")) {
				SOCKADDR_INET a4 = {0};
				a4.si_family = six ? AF_INET6 : AF_INET;
				inet_pton(a4.si_family, s, six ? (void *)&a4.Ipv6.sin6_addr : (void *)&a4.Ipv4.sin_addr);
				IP_ADAPTER_DNS_SERVER_ADDRESS *n = *nextd = (void *)at;
				at += (sizeof *n + 15) & ~15ul;
				n->Length = sizeof *n;
				copy_address(&at, &a4, &n->Address);
				nextd = &n->Next;
			}
		}
		last->Next = a;
		last = a;
	}
	return 0;
}
