// A stand-in for wintun.dll, for tests under wine, which has no such driver: adapters of iphlpapi.c, whose packets go nowhere.
// Each one that is sent is written to the file that WINTUN_LOG names.
//   x86_64-w64-mingw32-gcc -Wall -shared -o wintun.dll wintun.c libstandin.a
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

#define API __declspec(dllexport)
__declspec(dllimport) UINT64 StandInAdd(const WCHAR *name, const WCHAR *kind, const GUID *guid);
__declspec(dllimport) void StandInRemove(UINT64 luid);

typedef struct { UINT64 luid; HANDLE ready; } adapter;

API adapter *WINAPI WintunCreateAdapter(const WCHAR *name, const WCHAR *kind, const GUID *guid) {
	adapter *a = calloc(1, sizeof *a);
	a->luid = StandInAdd(name, kind, guid);
	return a;
}
API adapter *WINAPI WintunOpenAdapter(const WCHAR *name) { SetLastError(ERROR_NOT_FOUND); return NULL; }
API void WINAPI WintunCloseAdapter(adapter *a) { StandInRemove(a->luid); free(a); }
API BOOL WINAPI WintunDeleteDriver(void) { return TRUE; }
API void WINAPI WintunGetAdapterLUID(adapter *a, UINT64 *luid) { *luid = a->luid; }
API DWORD WINAPI WintunGetRunningDriverVersion(void) { return 14; }
API void WINAPI WintunSetLogger(void *f) {}
API adapter *WINAPI WintunStartSession(adapter *a, DWORD size) {
	a->ready = CreateEventW(NULL, FALSE, FALSE, NULL);
	return a;
}
API void WINAPI WintunEndSession(adapter *a) { CloseHandle(a->ready); }
API HANDLE WINAPI WintunGetReadWaitEvent(adapter *a) { return a->ready; }
API BYTE *WINAPI WintunReceivePacket(adapter *a, DWORD *size) { SetLastError(ERROR_NO_MORE_ITEMS); return NULL; }
API void WINAPI WintunReleaseReceivePacket(adapter *a, const BYTE *p) {}
API BYTE *WINAPI WintunAllocateSendPacket(adapter *a, DWORD size) {
	DWORD *p = malloc(sizeof size + size);
	*p = size;
	return (BYTE *)(p + 1);
}
API void WINAPI WintunSendPacket(adapter *a, const BYTE *p) {
	char *name = getenv("WINTUN_LOG");
	FILE *f = name ? fopen(name, "ab") : NULL;
	if (f) {
		fprintf(f, "packet of %u bytes, version %d\n", (unsigned)((DWORD *)p)[-1], p[0] >> 4);
		fclose(f);
	}
	free((DWORD *)p - 1);
}
