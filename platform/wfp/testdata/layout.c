// Prints how Microsoft's structures lie in memory on 64-bit Windows, one "name size" or "name.field offset" a line:
//   x86_64-w64-mingw32-gcc -o layout.exe layout.c && wine layout.exe | tr -d '\r' > layout.txt
#include <stddef.h>
#include <stdio.h>
#include <windows.h>
#include <fwpmu.h>

#define S(t) printf(#t " %u\n", (unsigned)sizeof(t));
#define F(t, f) printf(#t "." #f " %u\n", (unsigned)offsetof(t, f));

int main(void) {
	S(GUID) F(GUID, Data2) F(GUID, Data3) F(GUID, Data4)
	S(FWPM_DISPLAY_DATA0) F(FWPM_DISPLAY_DATA0, name) F(FWPM_DISPLAY_DATA0, description)
	S(FWP_BYTE_BLOB) F(FWP_BYTE_BLOB, size) F(FWP_BYTE_BLOB, data)
	S(FWP_VALUE0) F(FWP_VALUE0, type) F(FWP_VALUE0, uint64)
	S(FWP_CONDITION_VALUE0) F(FWP_CONDITION_VALUE0, type) F(FWP_CONDITION_VALUE0, v4AddrMask)
	S(FWP_V4_ADDR_AND_MASK) F(FWP_V4_ADDR_AND_MASK, addr) F(FWP_V4_ADDR_AND_MASK, mask)
	S(FWP_V6_ADDR_AND_MASK) F(FWP_V6_ADDR_AND_MASK, addr) F(FWP_V6_ADDR_AND_MASK, prefixLength)
	S(FWPM_FILTER_CONDITION0) F(FWPM_FILTER_CONDITION0, fieldKey) F(FWPM_FILTER_CONDITION0, matchType) F(FWPM_FILTER_CONDITION0, conditionValue)
	S(FWPM_ACTION0) F(FWPM_ACTION0, type) F(FWPM_ACTION0, filterType)
	S(FWPM_SESSION0) F(FWPM_SESSION0, sessionKey) F(FWPM_SESSION0, displayData) F(FWPM_SESSION0, flags)
	F(FWPM_SESSION0, txnWaitTimeoutInMSec) F(FWPM_SESSION0, processId) F(FWPM_SESSION0, sid) F(FWPM_SESSION0, username) F(FWPM_SESSION0, kernelMode)
	S(FWPM_PROVIDER0) F(FWPM_PROVIDER0, providerKey) F(FWPM_PROVIDER0, displayData) F(FWPM_PROVIDER0, flags)
	F(FWPM_PROVIDER0, providerData) F(FWPM_PROVIDER0, serviceName)
	S(FWPM_SUBLAYER0) F(FWPM_SUBLAYER0, subLayerKey) F(FWPM_SUBLAYER0, displayData) F(FWPM_SUBLAYER0, flags)
	F(FWPM_SUBLAYER0, providerKey) F(FWPM_SUBLAYER0, providerData) F(FWPM_SUBLAYER0, weight)
	S(FWPM_SUBLAYER_ENUM_TEMPLATE0) F(FWPM_SUBLAYER_ENUM_TEMPLATE0, providerKey)
	S(FWPM_FILTER0) F(FWPM_FILTER0, filterKey) F(FWPM_FILTER0, displayData) F(FWPM_FILTER0, flags) F(FWPM_FILTER0, providerKey)
	F(FWPM_FILTER0, providerData) F(FWPM_FILTER0, layerKey) F(FWPM_FILTER0, subLayerKey) F(FWPM_FILTER0, weight)
	F(FWPM_FILTER0, numFilterConditions) F(FWPM_FILTER0, filterCondition) F(FWPM_FILTER0, action) F(FWPM_FILTER0, rawContext)
	F(FWPM_FILTER0, reserved) F(FWPM_FILTER0, filterId) F(FWPM_FILTER0, effectiveWeight)
	S(FWPM_FILTER_ENUM_TEMPLATE0) F(FWPM_FILTER_ENUM_TEMPLATE0, providerKey) F(FWPM_FILTER_ENUM_TEMPLATE0, layerKey)
	F(FWPM_FILTER_ENUM_TEMPLATE0, enumType) F(FWPM_FILTER_ENUM_TEMPLATE0, flags) F(FWPM_FILTER_ENUM_TEMPLATE0, providerContextTemplate)
	F(FWPM_FILTER_ENUM_TEMPLATE0, numFilterConditions) F(FWPM_FILTER_ENUM_TEMPLATE0, filterCondition)
	F(FWPM_FILTER_ENUM_TEMPLATE0, actionMask) F(FWPM_FILTER_ENUM_TEMPLATE0, calloutKey)
	return 0;
}
