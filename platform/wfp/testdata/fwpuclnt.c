// A stand-in for Windows' fwpuclnt.dll, for tests under wine, whose own has no filtering engine. It reads what it gets by
// the headers' structures, keeps it, and writes it to the file that FWPUCLNT_LOG names, a line for each call that changes something.
//   x86_64-w64-mingw32-gcc -D_WIN32_WINNT=0x0601 -Wall -shared -o fwpuclnt.dll fwpuclnt.c
// goes into drive_c/windows/system32 of the prefix, with WINEDLLOVERRIDES=fwpuclnt=n.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <fwpmu.h>

#define API __declspec(dllexport) DWORD WINAPI
enum { MAX = 4096, PROVIDER_NOT_FOUND = 0x80320005, NOT_FOUND = 0x80320008, EXISTS = 0x80320009, IN_USE = 0x8032000a };

static FWPM_SUBLAYER0 subs[MAX];
static FWPM_FILTER0 filters[MAX];
static int nsubs, nfilters, provided;
static HANDLE volatile writer; // the session whose transaction it is
static GUID provider;

static void say(const char *format, ...) {
	char *name = getenv("FWPUCLNT_LOG");
	FILE *f = name ? fopen(name, "ab") : NULL;
	if (!f)
		return;
	va_list args;
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fclose(f);
}

static char *hex(const void *p, size_t n) { // the caller keeps it
	char *out = calloc(2 * n + 1, 1);
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", ((const UINT8 *)p)[i]);
	return out;
}

static char *key(const GUID *g) {
	char *out = calloc(33, 1);
	sprintf(out, "%08x%04x%04x%s", (unsigned)g->Data1, g->Data2, g->Data3, hex(g->Data4, 8));
	return out;
}

static int same(const GUID *a, const GUID *b) { return memcmp(a, b, sizeof *a) == 0; }

static FWP_BYTE_BLOB copy(FWP_BYTE_BLOB b) {
	FWP_BYTE_BLOB out = {b.size, malloc(b.size + 1)};
	if (b.size)
		memcpy(out.data, b.data, b.size);
	return out;
}

API FwpmEngineOpen0(const wchar_t *server, UINT32 authn, SEC_WINNT_AUTH_IDENTITY_W *identity, const FWPM_SESSION0 *session, HANDLE *engine) {
	if (server || authn != 10 || identity || session->flags || !session->displayData.name)
		return ERROR_INVALID_PARAMETER;
	*engine = malloc(1);
	say("open %ls wait %u\n", session->displayData.name, session->txnWaitTimeoutInMSec);
	return 0;
}

API FwpmEngineClose0(HANDLE engine) {
	say("close\n");
	InterlockedCompareExchangePointer((void *volatile *)&writer, NULL, engine);
	free(engine);
	return 0;
}
API FwpmTransactionBegin0(HANDLE engine, UINT32 flags) {
	if (writer == engine)
		return ERROR_INVALID_STATE;
	while (InterlockedCompareExchangePointer((void *volatile *)&writer, engine, NULL)) // one at a time, the others wait
		Sleep(1);
	say("begin %u\n", flags);
	return 0;
}
API FwpmTransactionCommit0(HANDLE engine) {
	say("commit\n");
	return InterlockedCompareExchangePointer((void *volatile *)&writer, NULL, engine) == engine ? 0 : ERROR_INVALID_STATE;
}

API FwpmProviderAdd0(HANDLE engine, const FWPM_PROVIDER0 *p, PSECURITY_DESCRIPTOR sd) {
	if (provided)
		return EXISTS;
	provided = 1, provider = p->providerKey;
	say("provider %s %ls flags %u service %ls\n", key(&provider), p->displayData.name, p->flags, p->serviceName);
	return 0;
}

API FwpmProviderDeleteByKey0(HANDLE engine, const GUID *k) {
	if (!provided || !same(k, &provider))
		return PROVIDER_NOT_FOUND;
	if (nsubs || nfilters)
		return IN_USE;
	provided = 0;
	say("no provider %s\n", key(k));
	return 0;
}

API FwpmSubLayerAdd0(HANDLE engine, const FWPM_SUBLAYER0 *s, PSECURITY_DESCRIPTOR sd) {
	if (!same(s->providerKey, &provider))
		return PROVIDER_NOT_FOUND;
	subs[nsubs] = *s;
	subs[nsubs].providerKey = &provider;
	subs[nsubs++].providerData = copy(s->providerData);
	say("sublayer %s %ls flags %u weight %u data %s\n", key(&s->subLayerKey), s->displayData.name, (unsigned)s->flags, s->weight, hex(s->providerData.data, s->providerData.size));
	return 0;
}

API FwpmSubLayerDeleteByKey0(HANDLE engine, const GUID *k) {
	for (int i = 0; i < nfilters; i++)
		if (same(&filters[i].subLayerKey, k))
			return IN_USE;
	for (int i = 0; i < nsubs; i++)
		if (same(&subs[i].subLayerKey, k)) {
			subs[i] = subs[--nsubs];
			say("no sublayer %s\n", key(k));
			return 0;
		}
	return NOT_FOUND;
}

static void condition(const FWPM_FILTER_CONDITION0 *c) {
	const FWP_CONDITION_VALUE0 *v = &c->conditionValue;
	say(" [%s %u %u ", key(&c->fieldKey), c->matchType, v->type);
	switch (v->type) {
	case FWP_UINT8: say("%u", v->uint8); break;
	case FWP_UINT16: say("%u", v->uint16); break;
	case FWP_UINT32: say("%u", v->uint32); break;
	case FWP_UINT64: say("%I64u", *v->uint64); break;
	case FWP_BYTE_BLOB_TYPE: say("%s", hex(v->byteBlob->data, v->byteBlob->size)); break;
	case FWP_SECURITY_DESCRIPTOR_TYPE: say("%s", hex(v->sd->data, v->sd->size)); break;
	case FWP_V4_ADDR_MASK: say("%08x/%08x", v->v4AddrMask->addr, v->v4AddrMask->mask); break;
	case FWP_V6_ADDR_MASK: say("%s/%u", hex(v->v6AddrMask->addr, 16), v->v6AddrMask->prefixLength); break;
	default: say("?");
	}
	say("]");
}

API FwpmFilterAdd0(HANDLE engine, const FWPM_FILTER0 *f, PSECURITY_DESCRIPTOR sd, UINT64 *id) {
	if (!same(f->providerKey, &provider) || nfilters == MAX)
		return PROVIDER_NOT_FOUND;
	for (int i = 0; i < nfilters; i++)
		if (same(&filters[i].filterKey, &f->filterKey))
			return EXISTS;
	filters[nfilters] = *f;
	filters[nfilters].providerKey = &provider;
	filters[nfilters++].providerData = copy(f->providerData);
	say("filter %s in %s at %s weight %u %u action %x flags %u %ls data %s", key(&f->filterKey), key(&f->subLayerKey), key(&f->layerKey), f->weight.type, f->weight.uint8,
		(unsigned)f->action.type, f->flags, f->displayData.name, hex(f->providerData.data, f->providerData.size));
	for (UINT32 i = 0; i < f->numFilterConditions; i++)
		condition(f->filterCondition + i);
	say("\n");
	return 0;
}

API FwpmFilterDeleteByKey0(HANDLE engine, const GUID *k) {
	for (int i = 0; i < nfilters; i++)
		if (same(&filters[i].filterKey, k)) {
			filters[i] = filters[--nfilters];
			say("no filter %s\n", key(k));
			return 0;
		}
	return NOT_FOUND;
}

// list is an enumeration: what fits, and how much was given of it.
struct list { void *fit[MAX]; UINT32 n, given; };

static DWORD give(struct list *l, UINT32 want, void ***entries, UINT32 *n) {
	*n = l->n - l->given < want ? l->n - l->given : want;
	*entries = calloc(*n + 1, sizeof **entries);
	memcpy(*entries, l->fit + l->given, *n * sizeof **entries);
	l->given += *n;
	return 0;
}

API FwpmSubLayerCreateEnumHandle0(HANDLE engine, const FWPM_SUBLAYER_ENUM_TEMPLATE0 *t, HANDLE *handle) {
	struct list *l = calloc(1, sizeof *l);
	for (int i = 0; i < nsubs; i++)
		if (same(t->providerKey, &provider))
			l->fit[l->n++] = subs + i;
	*handle = l;
	return 0;
}

API FwpmSubLayerEnum0(HANDLE engine, HANDLE handle, UINT32 want, FWPM_SUBLAYER0 ***entries, UINT32 *n) { return give(handle, want, (void ***)entries, n); }
API FwpmSubLayerDestroyEnumHandle0(HANDLE engine, HANDLE handle) { free(handle); return 0; }

API FwpmFilterCreateEnumHandle0(HANDLE engine, const FWPM_FILTER_ENUM_TEMPLATE0 *t, HANDLE *handle) {
	struct list *l = calloc(1, sizeof *l);
	if (t->enumType != FWP_FILTER_ENUM_FULLY_CONTAINED || t->numFilterConditions || t->providerContextTemplate || t->calloutKey || t->actionMask != 0xffffffff ||
		t->flags != (FWP_FILTER_ENUM_FLAG_INCLUDE_BOOTTIME | FWP_FILTER_ENUM_FLAG_INCLUDE_DISABLED))
		return ERROR_INVALID_PARAMETER;
	for (int i = 0; i < nfilters; i++)
		if (same(t->providerKey, &provider) && same(&t->layerKey, &filters[i].layerKey))
			l->fit[l->n++] = filters + i;
	*handle = l;
	return 0;
}

API FwpmFilterEnum0(HANDLE engine, HANDLE handle, UINT32 want, FWPM_FILTER0 ***entries, UINT32 *n) { return give(handle, want, (void ***)entries, n); }
API FwpmFilterDestroyEnumHandle0(HANDLE engine, HANDLE handle) { free(handle); return 0; }

API FwpmGetAppIdFromFileName0(const wchar_t *name, FWP_BYTE_BLOB **id) {
	UINT32 size = (wcslen(name) + 1) * sizeof *name;
	*id = malloc(sizeof **id + size);
	(*id)->size = size, (*id)->data = (UINT8 *)(*id + 1);
	memcpy((*id)->data, name, size);
	return 0;
}

__declspec(dllexport) void WINAPI FwpmFreeMemory0(void **p) { free(*p); *p = NULL; }
